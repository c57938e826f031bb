//! A map that counts what it takes in memory where it changes, so that the sum is known at every step.

use std::borrow::Borrow;
use std::collections::{BTreeMap, btree_map};
use std::ops::{Bound, Deref};

use crate::memory::of_map;

/// Up to this length debug builds check the sum at each change: in tests every way to change a value is
/// watched.
const CHECKED_LEN_MAX: usize = 32;

/// The content of a map.
pub trait Counted<K> {
    /// Bytes that the key and the value refer to, beside their own place in the map.
    fn bytes(&self, key: &K) -> usize;
}

/// An ordered map that knows its size in bytes. It is read as a [`BTreeMap`].
#[derive(Clone, Debug)]
pub struct CountedMap<K, V> {
    map: BTreeMap<K, V>,
    /// Bytes that keys and values refer to.
    referred: usize,
}

impl<K: Ord, V: Counted<K>> CountedMap<K, V> {
    /// The map without its count.
    pub fn into_map(self) -> BTreeMap<K, V> {
        self.map
    }

    /// Bytes that the map takes, with all that it refers to.
    pub fn bytes(&self) -> usize {
        self.referred + of_map::<K, V>(self.map.len())
    }

    /// Puts a value in. A key that is there already stays, and its value is returned.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.check();
        let before = self.map.get(&key).map_or(0, |before| before.bytes(&key));
        self.referred += value.bytes(&key);
        self.referred -= before;
        self.map.insert(key, value)
    }

    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.remove_entry(key).map(|(_, value)| value)
    }

    pub fn remove_entry<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        self.check();
        let (key, value) = self.map.remove_entry(key)?;
        self.referred -= value.bytes(&key);
        Some((key, value))
    }

    /// Changes a value; `None` if there is none.
    pub fn change<Q: Ord + ?Sized, T>(&mut self, key: &Q, change: impl FnOnce(&mut V) -> T) -> Option<T>
    where
        K: Borrow<Q>,
    {
        self.check();
        let (key, value) = self.map.range_mut((Bound::Included(key), Bound::Included(key))).next()?;
        let before = value.bytes(key);
        let result = change(value);
        self.referred += value.bytes(key);
        self.referred -= before;
        Some(result)
    }

    /// Changes every value.
    pub fn change_each(&mut self, mut change: impl FnMut(&K, &mut V)) {
        self.check();
        for (key, value) in &mut self.map {
            self.referred -= value.bytes(key);
            change(key, value);
            self.referred += value.bytes(key);
        }
    }

    pub fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) {
        self.check();
        let referred = &mut self.referred;
        self.map.retain(|key, value| {
            let keeps = keep(key, value);
            *referred -= if keeps { 0 } else { value.bytes(key) };
            keeps
        });
    }

    /// A value, to change what takes no memory. What it refers to MUST stay as it is.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.check();
        self.map.get_mut(key)
    }

    fn check(&self) {
        let sum = || self.map.iter().map(|(key, value)| value.bytes(key)).sum::<usize>();
        debug_assert!(
            self.map.len() > CHECKED_LEN_MAX || sum() == self.referred,
            "bytes that nobody counted"
        );
    }
}

impl<K, V> Default for CountedMap<K, V> {
    fn default() -> CountedMap<K, V> {
        CountedMap { map: BTreeMap::new(), referred: 0 }
    }
}

impl<K, V> Deref for CountedMap<K, V> {
    type Target = BTreeMap<K, V>;

    fn deref(&self) -> &BTreeMap<K, V> {
        &self.map
    }
}

impl<'a, K, V> IntoIterator for &'a CountedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = btree_map::Iter<'a, K, V>;

    fn into_iter(self) -> btree_map::Iter<'a, K, V> {
        self.map.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text that refers to its length.
    struct Text(&'static str);

    impl Counted<u8> for Text {
        fn bytes(&self, _key: &u8) -> usize {
            self.0.len()
        }
    }

    fn referred(map: &CountedMap<u8, Text>) -> usize {
        map.bytes() - of_map::<u8, Text>(map.len())
    }

    #[test]
    fn every_change_counts() {
        let mut map = CountedMap::default();
        assert_eq!(map.bytes(), 0);
        assert!(map.insert(1, Text("one")).is_none());
        assert!(map.insert(2, Text("two")).is_none());
        assert_eq!(referred(&map), 6);
        assert_eq!(map.insert(1, Text("longer")).map(|before| before.0), Some("one"));
        assert_eq!(referred(&map), 9);
        assert_eq!(map.change(&2, |text| std::mem::replace(text, Text("")).0), Some("two"));
        assert!(map.change(&3, |_| ()).is_none());
        assert_eq!(referred(&map), 6);
        map.change_each(|key, text| *text = if *key == 1 { Text("a") } else { Text("bc") });
        assert_eq!(referred(&map), 3);
        map.retain(|key, _| *key == 2);
        assert_eq!(referred(&map), 2);
        assert!(map.remove(&1).is_none() && map.remove(&2).is_some());
        assert_eq!(map.bytes(), 0);
    }

    /// The check that makes tests of the whole crate notice a value that grows in silence.
    #[cfg(debug_assertions)]
    #[test]
    #[should_panic(expected = "bytes that nobody counted")]
    fn a_change_in_silence_is_noticed() {
        let mut map = CountedMap::default();
        map.insert(1, Text("one"));
        if let Some(text) = map.get_mut(&1) {
            *text = Text("in silence");
        }
        map.remove(&1);
    }
}
