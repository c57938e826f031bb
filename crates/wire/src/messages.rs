//! Every request, response, header and record of the schema, one module each.
//!
//! Generated from `schema/` when the crate is built; the code is in `OUT_DIR/messages/`. Fields have Kafka's
//! names in snake case (`type` and `match` are `r#type` and `r#match`); every struct has the schema's
//! defaults as `Default`.

use bytes::Bytes;

use crate::primitives::{DecodeError, DecodeProblem, EncodeError, Reader, Sink, Sizer, Writer};

include!(concat!(env!("OUT_DIR"), "/messages.rs"));

/// The only version of the frame around a metadata record.
const METADATA_FRAME_VERSION: u32 = 1;

impl MetadataRecord {
    /// Reads a record as the metadata log holds it: version of the frame, type, version of the record, each
    /// an unsigned varint, then the body.
    pub fn from_frame(frame: Bytes) -> Result<MetadataRecord, DecodeError> {
        const FRAME: &str = "MetadataRecord";
        let mut reader = Reader::new(frame);
        let frame_version = reader.uvarint(FRAME)?;
        if frame_version != METADATA_FRAME_VERSION {
            return Err(DecodeError::new(FRAME, DecodeProblem::UnsupportedFrame(frame_version)));
        }
        let key = reader.uvarint(FRAME)?;
        let version = i16::try_from(reader.uvarint(FRAME)?).unwrap_or(i16::MAX);
        let record = MetadataRecord::decode(key, version, &mut reader)?;
        reader.finish(record.name())?;
        Ok(record)
    }

    /// Writes the record at its newest version.
    pub fn to_frame(&self) -> Result<Bytes, EncodeError> {
        self.to_frame_at(self.newest_version())
    }

    /// Writes the record at `version`.
    pub fn to_frame_at(&self, version: i16) -> Result<Bytes, EncodeError> {
        let mut sizer = Sizer::default();
        self.put_frame(&mut sizer, version)?;
        let mut writer = Writer::new(sizer.size());
        self.put_frame(&mut writer, version)?;
        writer.finish().into_bytes()
    }

    fn put_frame<S: Sink>(&self, sink: &mut S, version: i16) -> Result<(), EncodeError> {
        let unknown = EncodeError::UnsupportedVersion { message: self.name(), version };
        sink.uvarint(METADATA_FRAME_VERSION);
        sink.uvarint(self.key());
        sink.uvarint(u32::try_from(version).map_err(|_| unknown)?);
        self.put(sink, version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Uuid;
    use crate::primitives::{decode_from, encode_prefixed, encode_to_bytes};

    #[test]
    fn defaults_are_the_schemas() {
        let fetch = FetchRequest::default();
        assert_eq!((fetch.replica_id, fetch.max_bytes, fetch.session_epoch), (-1, i32::MAX, -1));
        assert_eq!(MetadataRequest::default().topics, Some(vec![]));
        assert!(MetadataRequest::default().allow_auto_topic_creation);
        assert_eq!(MetadataResponse::default().cluster_authorized_operations, i32::MIN);
        assert_eq!(ProduceRequest::default().transactional_id, None);
        assert_eq!(fetch_request::FetchPartition::default().high_watermark, i64::MAX);
    }

    #[test]
    fn null_and_empty_are_not_the_same() {
        for topics in [None, Some(vec![])] {
            let request = MetadataRequest { topics: topics.clone(), ..Default::default() };
            let bytes = encode_to_bytes(&request, 12).unwrap();
            assert_eq!(decode_from::<MetadataRequest>(bytes, 12).unwrap().topics, topics);
        }
        let null = MetadataRequest { topics: None, ..Default::default() };
        let refused = EncodeError::NullNotInVersion { field: "MetadataRequest.Topics", version: 0 };
        assert_eq!(encode_to_bytes(&null, 0), Err(refused));
    }

    #[test]
    fn what_a_version_lacks_is_dropped_only_if_ignorable() {
        let session = FetchRequest { session_id: 7, rack_id: "a".into(), ..Default::default() };
        assert!(encode_to_bytes(&session, 4).is_ok());
        let forgotten = vec![fetch_request::ForgottenTopic::default()];
        let forgotten = FetchRequest { forgotten_topics_data: forgotten, ..Default::default() };
        let refused =
            EncodeError::FieldNotInVersion { field: "FetchRequest.ForgottenTopicsData", version: 6 };
        assert_eq!(encode_to_bytes(&forgotten, 6), Err(refused));
        let replica_state = fetch_request::ReplicaState { replica_id: 1, replica_epoch: 2 };
        let follower = FetchRequest { replica_state, ..Default::default() };
        let refused = EncodeError::FieldNotInVersion { field: "FetchRequest.ReplicaState", version: 14 };
        assert_eq!(encode_to_bytes(&follower, 14), Err(refused));
    }

    #[test]
    fn versions_outside_the_range_are_refused() {
        let refused = EncodeError::UnsupportedVersion { message: "ProduceRequest", version: 2 };
        assert_eq!(encode_to_bytes(&ProduceRequest::default(), 2), Err(refused));
        let refused = decode_from::<ProduceRequest>(Bytes::from_static(&[0; 40]), 14).unwrap_err();
        assert_eq!(refused.problem, DecodeProblem::UnsupportedVersion(14));
    }

    /// The client id of a flexible header is not compact, so that a broker can read it before it knows the
    /// version.
    #[test]
    fn the_client_id_keeps_its_encoding() {
        let header = RequestHeader {
            request_api_key: 18,
            request_api_version: 4,
            correlation_id: 1,
            client_id: Some("ab".into()),
        };
        let expected = [0, 18, 0, 4, 0, 0, 0, 1, 0, 2, b'a', b'b', 0];
        assert_eq!(encode_to_bytes(&header, 2).unwrap(), expected.as_slice());
        assert_eq!(encode_to_bytes(&header, 1).unwrap(), expected[..12]);
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        let mut bytes = encode_to_bytes(&HeartbeatRequest::default(), 4).unwrap().to_vec();
        bytes.push(0);
        let refused = decode_from::<HeartbeatRequest>(bytes.into(), 4).unwrap_err();
        assert_eq!(refused.problem, DecodeProblem::TrailingBytes(1));
    }

    #[test]
    fn a_metadata_record_in_its_frame() {
        let topic = TopicRecord { name: "a".into(), topic_id: Uuid([7; 16]) };
        let record = MetadataRecord::from(topic);
        let frame = record.to_frame().unwrap();
        assert_eq!(frame[..5], [1, 2, 0, 2, b'a']);
        assert_eq!(MetadataRecord::from_frame(frame.clone()), Ok(record.clone()));
        assert_eq!((record.name(), record.key(), record.newest_version()), ("TopicRecord", 2, 0));

        let problem = |frame: &[u8]| MetadataRecord::from_frame(frame.to_vec().into()).unwrap_err().problem;
        assert_eq!(problem(&[2, 2, 0]), DecodeProblem::UnsupportedFrame(2));
        assert_eq!(problem(&[1, 99, 0]), DecodeProblem::UnknownRecordType(99));
        assert_eq!(problem(&[1, 2, 1, 2]), DecodeProblem::UnsupportedVersion(1));
        assert_eq!(problem(&[frame.as_ref(), &[0]].concat()), DecodeProblem::TrailingBytes(1));
    }

    #[test]
    fn a_metadata_record_at_an_older_version() {
        let partition = PartitionRecord { directories: vec![Uuid([1; 16])], ..Default::default() };
        let record = MetadataRecord::from(partition);
        assert_eq!(MetadataRecord::from_frame(record.to_frame().unwrap()), Ok(record.clone()));
        let refused = EncodeError::FieldNotInVersion { field: "PartitionRecord.Directories", version: 0 };
        assert_eq!(record.to_frame_at(0), Err(refused));
        assert!(record.to_frame_at(-1).is_err());
    }

    #[test]
    fn a_coordinator_record_behind_its_type() {
        let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 3 };
        let bytes = encode_prefixed(OffsetCommitKey::RECORD_TYPE, &key, 0).unwrap();
        assert_eq!(bytes, [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 3].as_slice());
    }
}
