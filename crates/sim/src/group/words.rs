//! What the trace says of requests and answers: enough to follow a story, and all that must not differ
//! between two runs.

use ottla_group::{Request, Response};

pub fn asked(request: &Request) -> String {
    match request {
        Request::JoinGroup(request) => format!("JoinGroup as {}", request.member_id),
        Request::SyncGroup(request) => format!("SyncGroup in {}", request.generation_id),
        Request::Heartbeat(request) => format!("Heartbeat in {}", request.generation_id),
        Request::ConsumerGroupHeartbeat(request) => {
            let holds = request.topic_partitions.as_ref();
            let holds = holds.map(|topics| topics.iter().map(|topic| topic.partitions.len()).sum::<usize>());
            format!("ConsumerGroupHeartbeat in {} holding {holds:?}", request.member_epoch)
        }
        Request::OffsetCommit(request) => {
            let offsets = request.topics.iter().flat_map(|topic| &topic.partitions);
            let offsets: Vec<i64> = offsets.map(|partition| partition.committed_offset).collect();
            format!("OffsetCommit in {} {offsets:?}", request.generation_id_or_member_epoch)
        }
        Request::TxnOffsetCommit(request) => {
            let offsets = request.topics.iter().flat_map(|topic| &topic.partitions);
            let offsets: Vec<i64> = offsets.map(|partition| partition.committed_offset).collect();
            format!(
                "TxnOffsetCommit in {} epoch {} {offsets:?}",
                request.generation_id, request.producer_epoch
            )
        }
        Request::OffsetDelete(request) => format!("OffsetDelete {:?}", request.topics),
        other => format!("{} of {:?}", other.name(), other.group()),
    }
}

pub fn heard(response: &Response) -> String {
    match response {
        Response::JoinGroup(response) => format!(
            "JoinGroup error {} generation {} leader {}",
            response.error_code,
            response.generation_id,
            response.leader == response.member_id
        ),
        Response::SyncGroup(response) => {
            format!("SyncGroup error {} {} bytes", response.error_code, response.assignment.len())
        }
        Response::Heartbeat(response) => format!("Heartbeat error {}", response.error_code),
        Response::ConsumerGroupHeartbeat(response) => {
            let topics = response.assignment.as_ref().map(|assignment| &assignment.topic_partitions);
            let assigned: Option<Vec<_>> =
                topics.map(|topics| topics.iter().map(|topic| (topic.topic_id, &topic.partitions)).collect());
            format!(
                "ConsumerGroupHeartbeat error {} epoch {} assigned {assigned:?}",
                response.error_code, response.member_epoch
            )
        }
        Response::OffsetCommit(response) => {
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            let errors: Vec<i16> = partitions.map(|partition| partition.error_code).collect();
            format!("OffsetCommit errors {errors:?}")
        }
        Response::TxnOffsetCommit(response) => {
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            let errors: Vec<i16> = partitions.map(|partition| partition.error_code).collect();
            format!("TxnOffsetCommit errors {errors:?}")
        }
        Response::OffsetFetch(response) => {
            let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
            let found: Vec<_> = partitions.map(|one| (one.committed_offset, one.error_code)).collect();
            format!("OffsetFetch error {} {found:?}", response.error_code)
        }
        Response::LeaveGroup(response) => format!("LeaveGroup error {}", response.error_code),
        _ => "something for administrators".to_owned(),
    }
}
