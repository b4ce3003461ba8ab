use super::*;
use crate::processes::Container;

const SECOND: u64 = 1_000_000_000;

fn groups(limit: usize) -> Groups {
    Groups::new(GroupOptions { limit, idle: Duration::from_secs(600), rules: Vec::new() })
}

fn shown(groups: &Groups) -> Vec<String> {
    let mut names: Vec<String> = groups.all_visible().map(|(_, name)| name.to_owned()).collect();
    names.sort();
    names
}

fn name(groups: &Groups, cgroup: &Cgroup, exe: &str) -> String {
    groups.name(Naming { cgroup, exe: exe.as_bytes(), comm: b"comm", kernel_thread: false })
}

#[test]
fn unit_then_container_then_rule_then_program() {
    let rules = vec![
        GroupRule { name: "database".into(), exe: vec!["postgres".into(), "/opt/db/bin/*".into()] },
        GroupRule { name: "late".into(), exe: vec!["postgres".into()] },
    ];
    let groups = Groups::new(GroupOptions { rules, ..GroupOptions::default() });
    let unit = Some("web.service".to_owned());
    let container = Some(Container { runtime: "docker", id: "0123456789abcdef".repeat(4) });
    let lxc = Some(Container { runtime: "lxc", id: "web".into() });
    let of = |unit: &Option<String>, container: &Option<Container>| {
        let cgroup = Cgroup { path: "/".into(), unit: unit.clone(), container: container.clone() };
        name(&groups, &cgroup, "/usr/bin/postgres")
    };
    assert_eq!(of(&unit, &None), "web.service");
    assert_eq!(of(&None, &container), "container:0123456789ab");
    assert_eq!(of(&None, &lxc), "container:web");
    assert_eq!(of(&unit, &container), "container:0123456789ab/web.service");
    assert_eq!(of(&None, &None), "database");
    let none = Cgroup::default();
    for (exe, wanted) in [
        ("/opt/db/bin/x", "database"),
        ("/usr/bin/python3.11", "python3.11"),
        ("memfd:a/b", "memfd:a/b"),
        ("", "comm"),
        ("/tmp/a\nb", "a\u{fffd}b"),
    ] {
        assert_eq!(name(&groups, &none, exe), wanted);
    }
    let naming = Naming { cgroup: &none, exe: b"", comm: b"kworker/0:1", kernel_thread: true };
    assert_eq!(groups.name(naming), "kernel");
    assert_eq!(groups.name(Naming { comm: b"", kernel_thread: false, ..naming }), "_unknown");
    let long = [b'x'; 4096];
    assert_eq!(groups.name(Naming { exe: &long, kernel_thread: false, ..naming }).len(), NAME);
}

#[test]
fn a_program_cannot_double_the_reserved_names() {
    let mut groups = groups(2);
    assert_eq!(groups.join("_other", 0), GroupId::OTHER);
    assert_eq!(groups.join("_unknown", 0), GroupId::UNKNOWN);
    groups.leave(GroupId::OTHER);
    groups.leave(GroupId::OTHER);
    groups.rebalance(u64::MAX);
    assert_eq!(groups.visible(GroupId::UNKNOWN), GroupId::UNKNOWN);
    assert_eq!(shown(&groups), ["_other", "_unknown"]);
}

#[test]
fn first_come_are_visible_and_the_rest_is_other() {
    let mut groups = groups(2);
    let ids: Vec<_> = ["a", "b", "c"].iter().map(|name| groups.join(name, 0)).collect();
    assert_eq!(groups.join("a", 0), ids[0]);
    assert_eq!(ids.iter().map(|id| groups.visible(*id)).collect::<Vec<_>>(), [ids[0], ids[1], GroupId::OTHER]);
    assert_eq!((groups.dropped(), groups.count()), (1, (3, 2)));
}

#[test]
fn three_strong_intervals_in_a_row_take_a_place_and_fewer_do_not() {
    let mut groups = groups(1);
    let (a, b) = (groups.join("a", 0), groups.join("b", 0));
    let mut round = |activity_b, now| {
        groups.note(a, 10);
        groups.note(b, activity_b);
        groups.rebalance(now * SECOND);
        (groups.visible(b) == b, groups.sweep())
    };
    // Exactly twice as active is not more than twice; and the row is broken once.
    for (round_number, activity) in [20, 20, 20, 20, 21, 21, 20, 21, 21].into_iter().enumerate() {
        assert_eq!(round(activity, round_number as u64 + 1), (false, vec![]), "round {round_number}");
    }
    assert_eq!(round(21, 20), (true, vec![a]));
    // Now a would have to be strong three times.
    assert_eq!(round(1, 21), (true, vec![]));
    assert_eq!(round(1, 22), (true, vec![]));
    assert_eq!(round(1, 23), (false, vec![b]));
    assert_eq!(groups.dropped(), 3);
}

#[test]
fn idle_groups_give_their_place_up_when_empty_or_wanted() {
    let mut groups = groups(2);
    let (a, b) = (groups.join("a", 0), groups.join("b", 0));
    groups.leave(b);
    groups.rebalance(599 * SECOND);
    assert_eq!(shown(&groups), ["_other", "_unknown", "a", "b"]);
    groups.rebalance(600 * SECOND);
    assert_eq!(groups.sweep(), [b], "b has no members; a, as idle, still has");
    assert_eq!(groups.name_of(b), None);
    let (c, d) = (groups.join("c", 600 * SECOND), groups.join("d", 600 * SECOND));
    assert_eq!((groups.visible(c), groups.visible(d)), (c, GroupId::OTHER));
    groups.note(d, 1);
    groups.rebalance(601 * SECOND);
    assert_eq!((groups.visible(a), groups.visible(d)), (GroupId::OTHER, d), "an idle group makes room at once");
    assert_eq!(groups.sweep(), [a]);
}

#[test]
fn a_lower_limit_hides_the_least_active() {
    let mut groups = groups(3);
    for (name, activity) in [("a", 5), ("b", 9), ("c", 1)] {
        let id = groups.join(name, 0);
        groups.note(id, activity);
    }
    groups.set_options(GroupOptions { limit: 1, ..GroupOptions::default() });
    groups.rebalance(SECOND);
    assert_eq!(shown(&groups), ["_other", "_unknown", "b"]);
    assert_eq!((groups.sweep().len(), groups.dropped()), (2, 2));
}

#[test]
fn names_without_members_are_forgotten() {
    let mut groups = groups(10);
    for number in 0..10_000 {
        let id = groups.join(&format!("storm-{number}"), 0);
        groups.leave(id);
    }
    assert_eq!(groups.count(), (10, 10));
    groups.rebalance(600 * SECOND);
    assert_eq!((groups.count(), groups.sweep().len()), ((0, 0), 10));
}
