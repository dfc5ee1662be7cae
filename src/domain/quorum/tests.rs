//! The quorum against a reference that knows no matching: it enumerates who could sit where, one person at a time.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn person(id: &str) -> PersonId {
    id.parse().unwrap()
}

fn set(ids: &str) -> BTreeSet<PersonId> {
    ids.split_whitespace().map(person).collect()
}

fn groups() -> BTreeMap<GroupId, BTreeSet<PersonId>> {
    [("security", "carol dave erin"), ("ops", "alice bob carol"), ("empty", ""), ("solo", "alice")]
        .into_iter()
        .map(|(name, members)| (name.parse().unwrap(), set(members)))
        .collect()
}

fn quorum(formula: serde_json::Value) -> Result<Quorum, QuorumError> {
    Quorum::new(serde_json::from_value(formula).unwrap(), &groups())
}

fn reason(formula: serde_json::Value) -> &'static str {
    quorum(formula).map_or_else(|error| error.reason(), |_| "OK")
}

#[test]
fn the_design_s_example() {
    let text =
        r#"{"threshold":2,"of":[{"threshold":1,"of":"security"},{"threshold":1,"of":["alice","bob"]}]}"#;
    let formula: Formula = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&formula).unwrap(), text);
    let quorum = Quorum::new(formula, &groups()).unwrap();
    assert_eq!(quorum.describe(), "1 of security and 1 of (alice, bob)");
    assert_eq!(*quorum.persons(), set("alice bob carol dave erin"));
    for (present, enough) in [
        ("carol alice", true),
        ("erin bob", true),
        ("erin bob alice dave", true),
        ("erin bob mallory", true),
        ("alice bob", false),
        ("carol dave erin", false),
        ("alice mallory", false),
        ("", false),
    ] {
        assert_eq!(quorum.satisfied_by(&set(present)), enough, "{present}");
    }
}

/// Row 5 of the lessons: somebody in several groups fills one seat only.
#[test]
fn one_person_fills_one_seat_over_the_whole_tree() {
    let quorum = quorum(json!({"threshold": 2, "of": [
        {"threshold": 1, "of": "security"}, {"threshold": 1, "of": "ops"}]}))
    .unwrap();
    assert!(!quorum.satisfied_by(&set("carol")));
    assert!(quorum.satisfied_by(&set("carol alice")), "carol for security");
    assert!(quorum.satisfied_by(&set("carol dave")), "carol for ops");
    assert!(!quorum.satisfied_by(&set("dave erin")));
}

/// Row 3: two people of two different teams, and alternatives of them.
#[test]
fn and_and_or_of_groups() {
    let quorum = quorum(json!({"threshold": 1, "of": [
        {"threshold": 3, "of": "ops"},
        {"threshold": 2, "of": [{"threshold": 1, "of": "ops"}, {"threshold": 1, "of": "security"}]}]}))
    .unwrap();
    assert_eq!(quorum.describe(), "3 of ops or (1 of ops and 1 of security)");
    assert!(quorum.satisfied_by(&set("alice dave")));
    assert!(quorum.satisfied_by(&set("alice bob carol")));
    assert!(!quorum.satisfied_by(&set("alice bob")));
}

/// Persons and formulas in one list count alike.
#[test]
fn a_formula_counts_as_one_of_a_list() {
    let quorum =
        quorum(json!({"threshold": 2, "of": ["alice", "bob", {"threshold": 2, "of": "security"}]})).unwrap();
    assert_eq!(quorum.describe(), "2 of (alice, bob, 2 of security)");
    assert!(quorum.satisfied_by(&set("alice bob")));
    assert!(quorum.satisfied_by(&set("alice dave erin")));
    assert!(!quorum.satisfied_by(&set("alice dave")));
    assert!(!quorum.satisfied_by(&set("carol dave erin")));
}

/// Row 4: zero, empty and nested thresholds; and everything that one person could satisfy.
#[test]
fn what_is_no_quorum_is_refused_by_name() {
    for (formula, expected) in [
        (json!({"threshold": 0, "of": "ops"}), "QUORUM_THRESHOLD_ZERO"),
        (
            json!({"threshold": 2, "of": [{"threshold": 0, "of": "ops"}, "alice", "bob"]}),
            "QUORUM_THRESHOLD_ZERO",
        ),
        (json!({"threshold": 4, "of": "ops"}), "QUORUM_THRESHOLD_TOO_HIGH"),
        (json!({"threshold": 3, "of": ["alice", "bob"]}), "QUORUM_THRESHOLD_TOO_HIGH"),
        (json!({"threshold": u32::MAX, "of": "ops"}), "QUORUM_THRESHOLD_TOO_HIGH"),
        (json!({"threshold": 1, "of": "nobody"}), "QUORUM_GROUP_UNKNOWN"),
        (json!({"threshold": 1, "of": "empty"}), "QUORUM_GROUP_EMPTY"),
        (json!({"threshold": 1, "of": []}), "QUORUM_LIST_EMPTY"),
        (json!({"threshold": 2, "of": ["alice", "alice"]}), "QUORUM_PERSON_DUPLICATE"),
        (json!({"threshold": 1, "of": "ops"}), "QUORUM_ONE_PERSON_SUFFICES"),
        (
            json!({"threshold": 1, "of": ["alice", {"threshold": 2, "of": "ops"}]}),
            "QUORUM_ONE_PERSON_SUFFICES",
        ),
        (
            json!({"threshold": 1, "of": [{"threshold": 1, "of": [{"threshold": 1, "of": "ops"}]}]}),
            "QUORUM_ONE_PERSON_SUFFICES",
        ),
        (json!({"threshold": 2, "of": ["alice", {"threshold": 1, "of": "solo"}]}), "QUORUM_UNSATISFIABLE"),
        (
            json!({"threshold": 2, "of": [{"threshold": 2, "of": "ops"}, {"threshold": 2, "of": "ops"}]}),
            "QUORUM_UNSATISFIABLE",
        ),
        (json!({"threshold": 2, "of": [{"threshold": 1, "of": "ops"}, {"threshold": 1, "of": "ops"}]}), "OK"),
    ] {
        assert_eq!(reason(formula.clone()), expected, "{formula}");
    }
}

#[test]
fn an_error_says_where() {
    let error = quorum(json!({"threshold": 2, "of": ["bob", {"threshold": 1, "of": ["alice",
        {"threshold": 1, "of": "nobody"}]}]}))
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the group nobody at of[1].of[1] is unknown: define it, or correct its name"
    );
}

#[test]
fn the_limits_hold_and_cost_nothing() {
    let nested = |levels| {
        (1..levels)
            .fold(json!({"threshold": 2, "of": "ops"}), |inner, _| json!({"threshold": 1, "of": [inner]}))
    };
    assert_eq!(reason(nested(4)), "OK");
    assert_eq!(reason(nested(5)), "QUORUM_TOO_DEEP");

    let persons = |count: usize| (0..count).map(|n| json!(format!("p{n}"))).collect::<Vec<_>>();
    assert_eq!(reason(json!({"threshold": 2, "of": persons(64)})), "OK");
    assert_eq!(reason(json!({"threshold": 64, "of": persons(64)})), "OK");
    assert_eq!(reason(json!({"threshold": 2, "of": persons(65)})), "QUORUM_TOO_MANY_PERSONS");

    let pairs = |count| vec![json!({"threshold": 2, "of": persons(64)}); count];
    // 12 over 6 is 924; 20 over 10 is 184,756; 2,000 over 64 is beyond any integer here.
    assert_eq!(reason(json!({"threshold": 6, "of": pairs(12)})), "OK");
    // All of them is one alternative, however many there are.
    assert_eq!(reason(json!({"threshold": 32, "of": pairs(32)})), "OK");
    assert_eq!(reason(json!({"threshold": 10, "of": pairs(20)})), "QUORUM_TOO_MANY_ALTERNATIVES");
    let many = vec![json!({"threshold": 2, "of": "ops"}); 2000];
    assert_eq!(reason(json!({"threshold": 64, "of": many})), "QUORUM_TOO_MANY_ALTERNATIVES");
}

#[test]
fn only_this_json_is_a_formula() {
    let fails = |text: &str| serde_json::from_str::<Formula>(text).unwrap_err().to_string();
    assert!(fails(r#"{"threshold":2,"of":"ops","all":true}"#).contains("unknown field `all`"));
    assert!(
        fails(r#"{"threshold":1,"of":[{"treshold":2,"of":"ops"}]}"#).contains("unknown field `treshold`")
    );
    assert!(fails(r#"{"threshold":-1,"of":"ops"}"#).contains("expected u32"));
    assert!(fails(r#"{"threshold":1,"of":[1]}"#).contains("expected the id of a person, or a formula"));
    assert!(fails(r#"{"threshold":1,"of":["Alice"]}"#).contains("Alice"));
    assert!(
        fails(r#"{"threshold":1,"of":{"threshold":1,"of":"ops"}}"#).contains("expected the name of a group")
    );
    assert!(fails(r#"{"of":"ops"}"#).contains("threshold"));
}

#[test]
fn what_is_missing_in_words() {
    let both = quorum(json!({"threshold": 2, "of": [
        {"threshold": 1, "of": "security"}, {"threshold": 2, "of": ["alice", "bob", "frank"]}]}))
    .unwrap();
    for (present, missing) in [
        ("", "one of security, and two of alice, bob, frank"),
        ("alice", "one of security, and one more of bob, frank"),
        ("alice bob", "one of security"),
        ("dave", "two of alice, bob, frank"),
        ("dave alice", "one more of bob, frank"),
        ("dave alice frank", ""),
    ] {
        assert_eq!(both.missing(&set(present)), missing, "{present}");
    }
    assert_eq!(both.missing_without(&set("dave alice"), &set("frank")), "bob");
    assert_eq!(both.missing_without(&set("dave"), &set("bob frank")), "more than those who may take part");

    let two = quorum(json!({"threshold": 2, "of": "ops"})).unwrap();
    assert_eq!(two.missing(&set("")), "two of ops");
    assert_eq!(two.missing(&set("alice")), "one more of ops");

    // carol sits in both groups, so either team can send the second one.
    let teams = quorum(json!({"threshold": 2, "of": [
        {"threshold": 1, "of": "security"}, {"threshold": 1, "of": "ops"}]}))
    .unwrap();
    assert_eq!(teams.missing(&set("carol")), "one more of alice, bob, dave, erin");
    assert_eq!(teams.missing(&set("dave")), "one of ops");

    let either = quorum(json!({"threshold": 1, "of": [
        {"threshold": 2, "of": ["alice", "bob"]}, {"threshold": 2, "of": "security"}]}))
    .unwrap();
    assert_eq!(either.missing(&set("")), "alice and bob; or two of security");
}

/// Two alternatives of two: what completes the one that is old does not hide the other, which is fresh.
#[test]
fn the_choice_holds_the_best_candidate_that_fits() {
    let either = quorum(json!({"threshold": 1, "of": [
        {"threshold": 2, "of": ["alice", "bob"]}, {"threshold": 2, "of": ["carol", "dave"]}]}))
    .unwrap();
    let choose = |ids: &str| {
        let candidates: Vec<PersonId> = ids.split_whitespace().map(person).collect();
        either.choose(&candidates)
    };
    assert_eq!(choose("dave bob alice carol"), Some(vec![0, 3]));
    assert_eq!(choose("mallory dave bob alice"), Some(vec![2, 3]));
    assert_eq!(choose("alice alice dave"), None, "nobody counts twice");
    assert_eq!(choose(""), None);
}

// --- reference ------------------------------------------------------------------------------------------------------

const NAMES: [&str; 6] = ["p0", "p1", "p2", "p3", "p4", "p5"];

fn bit(person: &PersonId) -> u32 {
    1 << NAMES.iter().position(|name| *name == person.as_str()).unwrap()
}

/// All sets of persons that, each in a seat of his own, exactly satisfy a formula.
fn solutions(formula: &Formula, groups: &BTreeMap<GroupId, BTreeSet<PersonId>>) -> HashSet<u32> {
    let choices: Vec<HashSet<u32>> = match &formula.of {
        Of::Group(group) => groups[group].iter().map(|person| HashSet::from([bit(person)])).collect(),
        Of::List(items) => items
            .iter()
            .map(|item| match item {
                Item::Person(person) => HashSet::from([bit(person)]),
                Item::Formula(inner) => solutions(inner, groups),
            })
            .collect(),
    };
    let mut exact: HashSet<(u32, u32)> = HashSet::from([(0, 0)]);
    for choice in choices {
        for (chosen, used) in exact.clone() {
            exact.extend(choice.iter().filter(|c| *c & used == 0).map(|c| (chosen + 1, used | c)));
        }
    }
    exact.into_iter().filter(|(chosen, _)| *chosen == formula.threshold).map(|(_, used)| used).collect()
}

fn any_groups() -> impl Strategy<Value = BTreeMap<GroupId, BTreeSet<PersonId>>> {
    prop::collection::vec(prop::sample::subsequence(NAMES.to_vec(), 1..=6), 2).prop_map(|groups| {
        let name = |index: usize| format!("g{index}").parse().unwrap();
        let members = |group: Vec<&str>| group.into_iter().map(person).collect();
        groups.into_iter().enumerate().map(|(index, group)| (name(index), members(group))).collect()
    })
}

fn any_formula() -> impl Strategy<Value = Formula> {
    let group = prop::sample::select(vec!["g0", "g1"]).prop_map(|name| Of::Group(name.parse().unwrap()));
    let persons = |max| prop::sample::subsequence(NAMES.to_vec(), 0..=max);
    let people =
        persons(4).prop_map(|p| p.into_iter().map(|id| Item::Person(person(id))).collect::<Vec<_>>());
    let leaf = (1..=3_u32, prop_oneof![group, people.clone().prop_map(Of::List)])
        .prop_map(|(threshold, of)| Formula { threshold, of });
    leaf.prop_recursive(3, 12, 3, move |inner| {
        let formulas = prop::collection::vec(inner.prop_map(Item::Formula), 1..=3);
        (1..=3_u32, people.clone(), formulas).prop_map(|(threshold, mut items, formulas)| {
            items.extend(formulas);
            Formula { threshold, of: Of::List(items) }
        })
    })
}

fn subset(bits: u32) -> BTreeSet<PersonId> {
    NAMES.iter().enumerate().filter(|(index, _)| bits >> index & 1 == 1).map(|(_, id)| person(id)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn agrees_with_the_enumeration(formula in any_formula(), groups in any_groups()) {
        let reference = solutions(&formula, &groups);
        let suffices = |bits: u32| reference.iter().any(|used| used & bits == *used);
        match Quorum::new(formula, &groups) {
            Ok(quorum) => {
                for bits in 0..64_u32 {
                    prop_assert_eq!(quorum.satisfied_by(&subset(bits)), suffices(bits), "{:?}", subset(bits));
                }
            }
            Err(QuorumError::OnePersonSuffices) => prop_assert!((0..6).any(|index| suffices(1 << index))),
            Err(QuorumError::Unsatisfiable) => prop_assert!(!suffices(63)),
            // What one node breaks by itself; the reference has no opinion.
            Err(QuorumError::ThresholdTooHigh { .. } | QuorumError::EmptyList { .. }) => {}
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    /// The choice against all sets that exactly satisfy the formula.
    #[test]
    fn the_choice_is_the_best_of_all(
        formula in any_formula(),
        groups in any_groups(),
        order in Just([0, 1, 2, 3, 4, 5]).prop_shuffle(),
        count in 0..=6_usize,
    ) {
        let reference = solutions(&formula, &groups);
        let Ok(quorum) = Quorum::new(formula, &groups) else { return Ok(()) };
        let candidates: Vec<PersonId> = order[..count].iter().map(|index| person(NAMES[*index])).collect();
        let present = candidates.iter().fold(0, |bits, person| bits | bit(person));
        let places = |used: u32| (0..count).filter(|place| bit(&candidates[*place]) & used != 0).collect::<Vec<_>>();
        let possible = reference.iter().filter(|used| **used & !present == 0).map(|used| places(*used));
        // The best of each first, then how many there are, then the others in their order.
        let best = possible.min_by_key(|places| (places[0], places.len(), places.clone()));
        let chosen = quorum.choose(&candidates);
        prop_assert_eq!(chosen.is_some(), best.is_some());
        let (Some(chosen), Some(best)) = (chosen, best) else { return Ok(()) };
        let used = chosen.iter().fold(0, |bits, place| bits | bit(&candidates[*place]));
        prop_assert!(reference.contains(&used), "{:?} fill one way through the formula", chosen);
        prop_assert_eq!((chosen[0], chosen.len()), (best[0], best.len()));
    }

    #[test]
    fn never_one_alone_and_never_less_by_joining(formula in any_formula(), groups in any_groups()) {
        let Ok(quorum) = Quorum::new(formula, &groups) else { return Ok(()) };
        prop_assert!(quorum.satisfied_by(quorum.persons()));
        for bits in 0..64_u32 {
            let enough = quorum.satisfied_by(&subset(bits));
            prop_assert!(!enough || bits.count_ones() >= 2);
            for joined in 0..6 {
                prop_assert!(!enough || quorum.satisfied_by(&subset(bits | 1 << joined)));
            }
        }
    }

    /// Nothing is missing exactly when it is satisfied, and the words name somebody who can come.
    #[test]
    fn missing_is_honest(formula in any_formula(), groups in any_groups(), bits in 0..64_u32) {
        let Ok(quorum) = Quorum::new(formula, &groups) else { return Ok(()) };
        let present = subset(bits);
        let missing = quorum.missing(&present);
        prop_assert_eq!(missing.is_empty(), quorum.satisfied_by(&present), "{}", missing);
        prop_assert!(!missing.contains("more than"));
        prop_assert!(!missing.ends_with("of "), "{}", missing);
        prop_assert!(!quorum.describe().is_empty());
    }

    #[test]
    fn json_there_and_back(formula in any_formula()) {
        let text = serde_json::to_string(&formula).unwrap();
        prop_assert_eq!(serde_json::from_str::<Formula>(&text).unwrap(), formula);
    }
}
