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

    /// Adds `first..=last`, whatever of it is in the set already.
    pub(crate) fn insert_run(&mut self, first: u64, last: u64) {
        let (mut first, mut last) = (first, last);
        let length = |from: u64, to: u64| to.saturating_sub(from).saturating_add(1);
        // Runs that overlap it or touch it become one with it.
        while let Some((&from, &to)) = self.runs.range(..=last.saturating_add(1)).next_back()
            && to.saturating_add(1) >= first
        {
            self.runs.remove(&from);
            self.count = self.count.saturating_sub(length(from, to));
            (first, last) = (first.min(from), last.max(to));
        }
        self.count = self.count.saturating_add(length(first, last));
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

    /// Takes `first..=last` out, whatever of it is in the set.
    pub(crate) fn remove_run(&mut self, first: u64, last: u64) {
        while let Some((&from, &to)) = self.runs.range(..=last).next_back() {
            if to < first {
                return;
            }
            self.runs.remove(&from);
            let gone = to.min(last).saturating_sub(from.max(first));
            self.count = self.count.saturating_sub(gone.saturating_add(1));
            if last < to {
                self.runs.insert(last.saturating_add(1), to);
            }
            if from < first {
                self.runs.insert(from, first.saturating_sub(1));
                return;
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
        fn takes_runs_as_it_takes_numbers(
            have in prop::collection::vec(0_u64..60, 0..40),
            first in 0_u64..60,
            length in 0_u64..30,
        ) {
            let mut set: BTreeSet<u64> = have.iter().copied().collect();
            let mut less = Runs::default();
            have.iter().for_each(|it| less.insert(*it));
            let mut more = less.clone();
            more.insert_run(first, first + length);
            less.remove_run(first, first + length);
            set.extend(first..=first + length);
            prop_assert!(more.iter().eq(set.iter().copied()));
            prop_assert_eq!(more.count(), u64::try_from(set.len()).unwrap());
            set.retain(|it| !(first..=first + length).contains(it));
            prop_assert!(less.iter().eq(set.iter().copied()));
            prop_assert_eq!(less.count(), u64::try_from(set.len()).unwrap());
        }

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
