//! All fetch sessions of the broker: a bounded cache that evicts fairly (KIP-227).
//!
//! In a full cache a newcomer gets a place in three cases: some session has not been used for [`IDLE`]; the
//! newcomer is a follower and there is a consumer's session to evict; or a session is smaller than the
//! newcomer and older than [`IDLE`]. A client without a place fetches without a session, which works but
//! costs more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ottla_wire::Instant;
use ottla_wire::protocol::ErrorCode;

use super::session::FetchSession;

/// The age at which a session can be evicted for a larger one, and the time without use after which any
/// newcomer can evict it.
const IDLE: Duration = Duration::from_secs(120);

/// The sessions of the broker.
pub struct Sessions {
    cache: Mutex<Cache>,
}

struct Cache {
    sessions: HashMap<i32, Entry>,
    places: usize,
}

struct Entry {
    session: Arc<Mutex<FetchSession>>,
    /// The epoch that the next request must carry.
    next_epoch: i32,
    follower: bool,
    by_id: bool,
    len: usize,
    opened: Instant,
    used: Instant,
}

/// The session that a request continues.
#[derive(Clone)]
pub struct Opened {
    pub id: i32,
    pub session: Arc<Mutex<FetchSession>>,
}

/// Why a request cannot continue a session. The client then opens a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error("the fetch session is not known")]
    NotFound,
    #[error("the fetch session is at another epoch")]
    Epoch,
    #[error("the fetch session names its topics in another way")]
    TopicNaming,
}

impl From<SessionError> for ErrorCode {
    fn from(error: SessionError) -> ErrorCode {
        match error {
            SessionError::NotFound => ErrorCode::FetchSessionIdNotFound,
            SessionError::Epoch => ErrorCode::InvalidFetchSessionEpoch,
            SessionError::TopicNaming => ErrorCode::FetchSessionTopicIdError,
        }
    }
}

impl Sessions {
    /// A cache with this many places (`max.incremental.fetch.session.cache.slots`).
    pub fn new(places: usize) -> Sessions {
        Sessions { cache: Mutex::new(Cache { sessions: HashMap::new(), places }) }
    }

    /// The number of open sessions.
    pub fn len(&self) -> usize {
        self.lock().sessions.len()
    }

    /// Finds a place for a new session of `session.len()` partitions. `None` if there is none.
    pub fn open(&self, now: Instant, session: FetchSession, follower: bool, by_id: bool) -> Option<Opened> {
        let len = session.len();
        let mut cache = self.lock();
        if len == 0 || !cache.make_room(now, len, follower) {
            return None;
        }
        let id = cache.unused_id();
        let session = Arc::new(Mutex::new(session));
        let entry =
            Entry { session: session.clone(), next_epoch: 1, follower, by_id, len, opened: now, used: now };
        cache.sessions.insert(id, entry);
        Some(Opened { id, session })
    }

    /// The session that a request with this id and epoch continues.
    pub fn resume(&self, now: Instant, id: i32, epoch: i32, by_id: bool) -> Result<Opened, SessionError> {
        let mut cache = self.lock();
        let entry = cache.sessions.get_mut(&id).ok_or(SessionError::NotFound)?;
        if entry.next_epoch != epoch {
            return Err(SessionError::Epoch);
        }
        if entry.by_id != by_id {
            return Err(SessionError::TopicNaming);
        }
        entry.next_epoch = entry.next_epoch.checked_add(1).unwrap_or(1);
        entry.used = now;
        Ok(Opened { id, session: entry.session.clone() })
    }

    /// Updates the size of a session. An empty session is closed.
    pub fn resized(&self, id: i32, len: usize) {
        let mut cache = self.lock();
        if len == 0 {
            cache.sessions.remove(&id);
        } else if let Some(entry) = cache.sessions.get_mut(&id) {
            entry.len = len;
        }
    }

    /// Closes a session, because the client asks for it or opens another one.
    pub fn close(&self, id: i32) {
        self.lock().sessions.remove(&id);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn make_room(&mut self, now: Instant, len: usize, follower: bool) -> bool {
        if self.sessions.len() < self.places {
            return true;
        }
        let Some(victim) = self.victim(now, len, follower) else { return false };
        self.sessions.remove(&victim);
        true
    }

    fn victim(&self, now: Instant, len: usize, follower: bool) -> Option<i32> {
        let (least_used, entry) = self.sessions.iter().min_by_key(|(id, entry)| (entry.used, **id))?;
        if now.since(entry.used) > IDLE {
            return Some(*least_used);
        }
        let settled = |entry: &Entry| now.since(entry.opened) > IDLE;
        let can_go =
            |entry: &Entry| if follower { !entry.follower || settled(entry) } else { settled(entry) };
        let rank = |entry: &Entry| (entry.follower, entry.len);
        let evictable = self.sessions.iter().filter(|(_, entry)| can_go(entry));
        let (smallest, entry) = evictable.min_by_key(|(id, entry)| (rank(entry), **id))?;
        (rank(entry) < (follower, len)).then_some(*smallest)
    }

    fn unused_id(&self) -> i32 {
        loop {
            let id = rand::random_range(1..=i32::MAX);
            if !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_wire::{Offset, PartitionIndex};

    use super::super::read::PartitionFetch;
    use super::super::session::{PartitionId, TopicRef};
    use super::*;

    fn session(len: i32) -> FetchSession {
        let mut session = FetchSession::default();
        for index in 0..len {
            let id = PartitionId { topic: TopicRef::Name("t".into()), index: PartitionIndex(index) };
            let offset = Offset::ZERO;
            session.want(
                id,
                PartitionFetch {
                    offset,
                    max_bytes: 1,
                    current_epoch: None,
                    last_fetched_epoch: None,
                    log_start: offset,
                },
            );
        }
        session
    }

    fn after(seconds: u64) -> Instant {
        Instant(0) + Duration::from_secs(seconds)
    }

    #[test]
    fn epochs_count_up_and_any_other_is_refused() {
        let sessions = Sessions::new(2);
        let opened = sessions.open(after(0), session(1), false, true).unwrap();
        assert!(sessions.resume(after(0), opened.id, 1, true).is_ok());
        assert_eq!(sessions.resume(after(0), opened.id, 1, true).err(), Some(SessionError::Epoch));
        assert_eq!(sessions.resume(after(0), opened.id, 2, false).err(), Some(SessionError::TopicNaming));
        assert!(sessions.resume(after(0), opened.id, 2, true).is_ok());
        sessions.close(opened.id);
        assert_eq!(sessions.resume(after(0), opened.id, 3, true).err(), Some(SessionError::NotFound));
    }

    #[test]
    fn a_full_cache_gives_way_to_followers_to_larger_ones_and_to_those_in_use() {
        let sessions = Sessions::new(1);
        let first = sessions.open(after(0), session(2), false, true).unwrap();
        assert!(sessions.open(after(1), session(9), false, true).is_none(), "the first has had no time yet");
        sessions.resume(after(121), first.id, 1, true).unwrap();
        assert!(sessions.open(after(122), session(2), false, true).is_none(), "not larger");
        let larger = sessions.open(after(122), session(3), false, true).unwrap();
        let follower = sessions.open(after(123), session(1), true, true).unwrap();
        assert!(sessions.resume(after(123), larger.id, 1, true).is_err());
        assert!(
            sessions.open(after(200), session(99), false, true).is_none(),
            "consumers do not push followers out"
        );
        assert!(sessions.open(after(244), session(1), false, true).is_some(), "unless they are gone");
        assert!(sessions.resume(after(244), follower.id, 1, true).is_err());
    }
}
