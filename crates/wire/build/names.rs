//! Kafka's names as Rust's.

/// `TopicData` to `topic_data`. `KRaft` is one word.
pub fn snake(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let chars: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (i, c) in chars.iter().enumerate() {
        let after_word = i > 0 && !chars[i - 1].is_ascii_uppercase();
        let before_word = i > 0 && chars.get(i + 1).is_some_and(char::is_ascii_lowercase);
        if c.is_ascii_uppercase() && (after_word || before_word) {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// The name of a field: [`snake`], escaped if Rust has another use for the word.
pub fn field(name: &str) -> String {
    let snake = snake(name);
    match snake.as_str() {
        "type" | "match" | "move" | "ref" | "use" | "mod" | "in" | "where" => format!("r#{snake}"),
        _ => snake,
    }
}

/// `NOT_LEADER_OR_FOLLOWER` to `NotLeaderOrFollower`.
pub fn camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            first.to_ascii_uppercase() + &rest.to_ascii_lowercase()
        })
        .collect()
}
