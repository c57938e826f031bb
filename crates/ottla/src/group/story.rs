//! The history of a group as a story for people: for each rebalance who caused it and why, and how each phase
//! went.

use serde_json::Value;

use crate::output::{Align, Style, Table, or_dash, visible};
use crate::time;

/// `body` is what the broker told, for those who want it as it is.
pub fn told(style: Style, group: &str, rebalances: &[Value], body: &str) -> String {
    match style {
        Style::Json => body.trim_end().to_owned() + "\n",
        Style::Terminal { .. } if rebalances.is_empty() => {
            format!(
                "the broker remembers no rebalance of group {}; it forgets them when it stops\n",
                visible(group)
            )
        }
        Style::Terminal { .. } => rebalances.iter().map(|of| for_people(style, of)).collect(),
        Style::Plain => rebalances.iter().map(for_programs).collect(),
    }
}

fn for_people(style: Style, of: &Value) -> String {
    let when = of["begun_ms"].as_i64().map_or_else(|| "-".to_owned(), time::date_time_text);
    let mut text = format!("{} {}\n", style.dim(&when), style.bold(&visible(&cause(of))));
    if let Some(reason) = of["reason"].as_str() {
        text.push_str(&format!("  because: {}\n", visible(reason)));
    }
    let ended = match of["outcome"].as_str() {
        Some("completed") => "completed".to_owned(),
        Some("running") => style.alarm("still running"),
        Some("superseded") => "overtaken by the next one".to_owned(),
        other => or_dash(other),
    };
    let change = |what: &str| {
        let (before, after) = (&of[format!("{what}_before")], &of[format!("{what}_after")]);
        format!("{} -> {}", or_dash(before.as_i64()), or_dash(after.as_i64()))
    };
    text.push_str(&format!(
        "  {ended}: generation {}, members {}\n",
        change("generation"),
        change("members")
    ));
    let mut table = Table::new([
        ("PHASE", Align::Left),
        ("TOOK", Align::Right),
        ("SLOWEST", Align::Left),
        ("MISSED", Align::Left),
    ]);
    let phases = of["phases"].as_array().map(Vec::as_slice).unwrap_or_default();
    phases.iter().for_each(|phase| table.row(phase_cells(phase)));
    if !phases.is_empty() {
        table.to_text(style).lines().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    text.push('\n');
    text
}

/// What caused a rebalance, as a sentence without a stop.
fn cause(of: &Value) -> String {
    let by = &of["by"];
    let member = if by.is_null() { "a member".to_owned() } else { who(by) };
    match of["cause"].as_str() {
        Some("joined") => format!("{member} joined"),
        Some("left") => format!("{member} left"),
        Some("session_expired") => {
            format!("{member} was not heard of for its session timeout, and was put out")
        }
        Some("rebalance_timed_out") => format!("{member} did not do its part of a rebalance in time"),
        Some("topics_changed") => "topics that it reads came, went or grew".to_owned(),
        Some("subscription_changed") => format!("{member} subscribes to something else"),
        Some("leader_rejoined") => format!("the leader, {member}, asked for another assignment"),
        Some("instance_replaced") => format!("{member} came in place of its older self"),
        Some("removed") => format!("an administrator removed {member}"),
        Some("too_large") => "the group was larger than it may be".to_owned(),
        Some("assignment_failed") => "the assignment could not be kept".to_owned(),
        Some("protocol_changed") => "the group changed its protocol".to_owned(),
        other => or_dash(other),
    }
}

/// A member, with the name that its owner gave it first.
fn who(of: &Value) -> String {
    let text = |name: &str| of[name].as_str().filter(|text| !text.is_empty());
    let member = text("member_id").unwrap_or("?");
    let host =
        text("client_host").map(|host| format!(" at {}", host.trim_start_matches('/'))).unwrap_or_default();
    match text("instance_id") {
        Some(instance) => format!("{instance} ({member}{host})"),
        None => format!(
            "{member}{}",
            if host.is_empty() { String::new() } else { format!(" ({})", host.trim_start()) }
        ),
    }
}

fn phase_cells(phase: &Value) -> [String; 4] {
    let ms = |of: &Value| of.as_u64().map(|ms| format!("{ms} ms"));
    let slowest = &phase["slowest"];
    let name = |of: &Value| or_dash(of["instance_id"].as_str().or(of["member_id"].as_str()));
    let slow = ms(&slowest["after_ms"]).map(|after| format!("{} after {after}", name(&slowest["member"])));
    let absent = phase["absent"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut missed: Vec<String> = absent.iter().map(name).collect();
    let more = phase["absent_count"].as_u64().unwrap_or(0).saturating_sub(missed.len() as u64);
    if more > 0 {
        missed.push(format!("and {more} more"));
    }
    let took = ms(&phase["took_ms"]).unwrap_or_else(|| "running".to_owned());
    [or_dash(phase["phase"].as_str()), took, or_dash(slow), or_dash(Some(missed.join(", ")))]
}

/// A line for each phase, that of its rebalance repeated.
fn for_programs(of: &Value) -> String {
    let number = |name: &str| or_dash(of[name].as_i64());
    let rebalance = [
        number("begun_ms"),
        or_dash(of["cause"].as_str()),
        or_dash(of["by"]["member_id"].as_str()),
        or_dash(of["outcome"].as_str()),
        number("generation_before"),
        number("generation_after"),
        number("members_before"),
        number("members_after"),
    ]
    .join("\t");
    let phase = |phase: &Value| {
        let slowest = &phase["slowest"];
        let cells = [
            or_dash(phase["phase"].as_str()),
            or_dash(phase["took_ms"].as_u64()),
            or_dash(slowest["member"]["member_id"].as_str()),
            or_dash(slowest["after_ms"].as_u64()),
            or_dash(phase["absent_count"].as_u64()),
        ];
        format!("{rebalance}\t{}\n", cells.join("\t"))
    };
    of["phases"].as_array().into_iter().flatten().map(phase).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rebalance() -> Value {
        let who = |id: &str| json!({ "member_id": id, "instance_id": null, "client_id": "c", "client_host": "/10.0.0.7" });
        json!({
            "cause": "session_expired", "by": who("m-2"), "reason": null, "begun_ms": 1_769_860_800_250_i64,
            "outcome": "completed", "generation_before": 1, "generation_after": 2,
            "members_before": 2, "members_after": 1,
            "phases": [
                { "phase": "join", "took_ms": 30, "slowest": { "member": who("m-1"), "after_ms": 20 },
                  "absent": [who("m-3")], "absent_count": 2 },
                { "phase": "sync", "took_ms": null, "slowest": null, "absent": [], "absent_count": 0 },
            ],
        })
    }

    #[test]
    fn the_story_names_who_and_why() {
        let expected = "\
2026-01-31T12:00:00.250Z m-2 (at 10.0.0.7) was not heard of for its session timeout, and was put out
  completed: generation 1 -> 2, members 2 -> 1
  PHASE     TOOK  SLOWEST          MISSED
  join     30 ms  m-1 after 20 ms  m-3, and 1 more
  sync   running  -                -

";
        let style = Style::Terminal { colour: false };
        assert_eq!(told(style, "g", &[rebalance()], ""), expected);
        let mut given = rebalance();
        (given["reason"], given["by"]["instance_id"]) = (json!("it hung"), json!("till-3"));
        let text = told(style, "g", &[given], "");
        assert!(
            text.contains("  because: it hung\n") && text.contains("till-3 (m-2 at 10.0.0.7) was"),
            "{text}"
        );
        assert!(told(style, "g", &[], "").contains("remembers no rebalance of group g"));
    }

    #[test]
    fn programs_get_a_line_a_phase_or_what_the_broker_said() {
        let expected = "\
1769860800250\tsession_expired\tm-2\tcompleted\t1\t2\t2\t1\tjoin\t30\tm-1\t20\t2
1769860800250\tsession_expired\tm-2\tcompleted\t1\t2\t2\t1\tsync\t-\t-\t-\t0
";
        assert_eq!(told(Style::Plain, "g", &[rebalance()], ""), expected);
        assert_eq!(told(Style::Json, "g", &[], "{\"group\":\"g\"}\n"), "{\"group\":\"g\"}\n");
    }
}
