//! Sets of record ids that mostly follow each other.

use std::collections::BTreeMap;

/// A set of numbers kept as runs, so that a million numbers in a row cost as much as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    /// First of a run to its last.
    runs: BTreeMap<u64, u64>,
    count: u64,
}

impl Runs {
    pub(crate) fn contains(&self, value: u64) -> bool {
        self.runs
            .range(..=value)
            .next_back()
            .is_some_and(|(_, last)| *last >= value)
    }

    pub(crate) fn insert(&mut self, value: u64) {
        self.insert_run(value, value);
    }

    /// Adds `first..=last`, of which none is in the set.
    pub(crate) fn insert_run(&mut self, first: u64, last: u64) {
        if self.contains(first) {
            return;
        }
        self.count = self
            .count
            .saturating_add(last.saturating_sub(first).saturating_add(1));
        let (mut first, mut last) = (first, last);
        if let Some((&before, &end)) = self.runs.range(..first).next_back()
            && end.saturating_add(1) == first
        {
            self.runs.remove(&before);
            first = before;
        }
        if let Some(end) = self.runs.remove(&last.saturating_add(1)) {
            last = end;
        }
        self.runs.insert(first, last);
    }

    pub(crate) fn remove(&mut self, value: u64) {
        let Some((&first, &last)) = self.runs.range(..=value).next_back() else {
            return;
        };
        if last < value {
            return;
        }
        self.runs.remove(&first);
        self.count = self.count.saturating_sub(1);
        if first < value {
            self.runs.insert(first, value.saturating_sub(1));
        }
        if value < last {
            self.runs.insert(value.saturating_add(1), last);
        }
    }

    /// Takes out all numbers below this one.
    pub(crate) fn remove_below(&mut self, value: u64) {
        while let Some((&first, &last)) = self.runs.first_key_value()
            && first < value
        {
            let gone = last.min(value.saturating_sub(1));
            self.runs.remove(&first);
            self.count = self
                .count
                .saturating_sub(gone.saturating_sub(first).saturating_add(1));
            if last > gone {
                self.runs.insert(value, last);
            }
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn first(&self) -> Option<u64> {
        self.runs.keys().next().copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.runs.iter().flat_map(|(first, last)| *first..=*last)
    }

    pub(crate) fn runs(&self) -> impl ExactSizeIterator<Item = (u64, u64)> {
        self.runs.iter().map(|(first, last)| (*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Runs;

    proptest! {
        #[test]
        fn behaves_like_a_set(steps in prop::collection::vec((any::<bool>(), 0_u64..40), 0..200)) {
            let (mut runs, mut set) = (Runs::default(), BTreeSet::new());
            for (insert, value) in steps {
                if insert {
                    runs.insert(value);
                    set.insert(value);
                } else {
                    runs.remove(value);
                    set.remove(&value);
                }
                prop_assert!(runs.iter().eq(set.iter().copied()));
                prop_assert_eq!(runs.count(), u64::try_from(set.len()).unwrap());
                prop_assert_eq!(runs.first(), set.first().copied());
                prop_assert!((0..40).all(|it| runs.contains(it) == set.contains(&it)));
                let ends: Vec<_> = runs.runs().collect();
                prop_assert!(ends.windows(2).all(|it| it[0].1 + 1 < it[1].0), "runs are merged");
            }
        }

        #[test]
        fn loses_what_is_below(values in prop::collection::btree_set(0_u64..40, 0..30), below in 0_u64..45) {
            let mut runs = Runs::default();
            values.iter().for_each(|it| runs.insert(*it));
            runs.remove_below(below);
            prop_assert!(runs.iter().eq(values.range(below..).copied()));
            prop_assert_eq!(runs.count(), u64::try_from(values.range(below..).count()).unwrap());
        }
    }
}
