//! Formulas and what is missing for them, in words for people.
//!
//! Invariant: what [`Quorum::missing`] asks for, it gets: bringing these persons satisfies the formula.

use std::collections::BTreeSet;

use super::{Formula, Item, MAX_PERSONS, Of, PersonId, Quorum, Seat, matching};

/// Most different ways out that are spelled out.
const MAX_WAYS: usize = 3;

impl Quorum {
    /// The formula, such as `1 of security and 1 of (alice, bob)`.
    #[must_use]
    pub fn describe(&self) -> String {
        describe(&self.formula).0
    }

    /// Who is still needed, such as `one of security, and one more of alice, bob`; empty if nobody is.
    #[must_use]
    pub fn missing(&self, present: &BTreeSet<PersonId>) -> String {
        self.missing_without(present, &BTreeSet::new())
    }

    /// As [`Self::missing`], where some may not take part, such as the requester.
    #[must_use]
    pub fn missing_without(&self, present: &BTreeSet<PersonId>, excluded: &BTreeSet<PersonId>) -> String {
        let excluded = self.bits(excluded);
        let present = self.bits(present) & !excluded;
        let absent = !present & !excluded;
        let gaps: Vec<Vec<Seat>> =
            self.alternatives.iter().filter_map(|seats| matching::gaps(seats, present, absent)).collect();
        match gaps.iter().map(Vec::len).min() {
            None => "more than those who may take part".to_owned(),
            Some(0) => String::new(),
            Some(1) => self.one_more(present, absent),
            Some(fewest) => {
                let mut ways = Vec::new();
                for gap in gaps.iter().filter(|gap| gap.len() == fewest) {
                    let way = self.several_more(gap, present, absent);
                    if !ways.contains(&way) {
                        ways.push(way);
                    }
                }
                let more = if ways.len() > MAX_WAYS { "; or in another way" } else { "" };
                ways.truncate(MAX_WAYS);
                ways.join("; or ") + more
            }
        }
    }

    /// A single person is missing: everyone who would complete one of the alternatives.
    fn one_more(&self, present: u64, absent: u64) -> String {
        let mut helpers = 0;
        for person in (0..MAX_PERSONS).map(|index| 1_u64 << index).filter(|bit| bit & absent != 0) {
            let completes = |seats: &Vec<Seat>| matching::fills(seats, present | person);
            if self.alternatives.iter().any(completes) {
                helpers |= person;
            }
        }
        let pool = self.pools.iter().find(|pool| pool.group.is_some() && pool.members & absent == helpers);
        match pool.and_then(|pool| pool.group.as_ref().map(|group| (group, pool.members))) {
            Some((group, members)) if members & present == 0 => format!("one of {group}"),
            Some((group, _)) => format!("one more of {group}"),
            None => self.any_of(1, helpers, self.pools.iter().any(|p| p.members & present != 0)),
        }
    }

    /// Several are missing: the empty seats of one alternative, pool by pool.
    fn several_more(&self, gap: &[Seat], present: u64, absent: u64) -> String {
        let mut parts = Vec::new();
        for (index, pool) in self.pools.iter().enumerate() {
            let count = gap.iter().filter(|seat| seat.pool == index).count();
            if count == 0 {
                continue;
            }
            let begun = pool.members & present != 0;
            parts.push(match &pool.group {
                Some(group) => format!("{}{} of {group}", number(count), if begun { " more" } else { "" }),
                None => self.any_of(count, pool.members & absent, begun),
            });
        }
        parts.join(", and ")
    }

    fn any_of(&self, count: usize, members: u64, begun: bool) -> String {
        let member =
            |(index, person): (usize, &PersonId)| (members >> index & 1 == 1).then(|| person.to_string());
        let names: Vec<String> = self.persons.iter().enumerate().filter_map(member).collect();
        if names.len() == count {
            return names.join(" and ");
        }
        format!("{}{} of {}", number(count), if begun { " more" } else { "" }, names.join(", "))
    }
}

/// How the parts of a description are joined.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Glue {
    /// One part only, or a list in its own parentheses.
    None,
    And,
    Or,
}

fn describe(formula: &Formula) -> (String, Glue) {
    let threshold = formula.threshold;
    let items = match &formula.of {
        Of::Group(group) => return (format!("{threshold} of {group}"), Glue::None),
        Of::List(items) => items,
    };
    let only_formulas = items.iter().all(|item| matches!(item, Item::Formula(_)));
    let all = usize::try_from(threshold) == Ok(items.len());
    let join = |glue, between| {
        let parts: Vec<String> = items.iter().map(|item| describe_item(item, glue)).collect();
        (parts.join(between), glue)
    };
    match (only_formulas, items.as_slice()) {
        (true, [Item::Formula(only)]) => describe(only),
        (true, _) if all => join(Glue::And, " and "),
        (true, _) if threshold == 1 => join(Glue::Or, " or "),
        _ => (format!("{threshold} of ({})", join(Glue::None, ", ").0), Glue::None),
    }
}

/// In parentheses where "and" and "or" would mix.
fn describe_item(item: &Item, outer: Glue) -> String {
    match item {
        Item::Person(person) => person.to_string(),
        Item::Formula(inner) => match describe(inner) {
            (text, Glue::None) => text,
            (text, glue) if glue == outer => text,
            (text, _) => format!("({text})"),
        },
    }
}

fn number(count: usize) -> String {
    match count {
        1 => "one".to_owned(),
        2 => "two".to_owned(),
        3 => "three".to_owned(),
        _ => count.to_string(),
    }
}
