//! The knobs for kernels of both layouts, also for those that no test can be run on: BTF of hooks as they were before they
//! changed and after.

use super::*;
use crate::bpf::btf::Btf;

/// BTF with tracepoints that have these arguments, by the names of their types; a star is a pointer.
fn btf(tracepoints: &[(&str, &[&str])], functions: &[&str]) -> Btf {
    let (mut types, mut strings, mut count) = (Vec::<u8>::new(), vec![0_u8], 0_u32);
    let mut text = |text: &str| -> u32 {
        let at = strings.len() as u32;
        strings.extend(text.bytes().chain([0]));
        at
    };
    let mut add = |words: &[u32]| -> u32 {
        types.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        count += 1;
        count
    };
    // Each begins with its name, its kind (with the number of what follows) and its size or the type referred to.
    let integer = add(&[text("int"), 1 << 24, 4, 32]);
    let status = add(&[text("blk_status_t"), 8 << 24, integer]);
    let boolean = add(&[text("bool"), 1 << 24, 1, 8]);
    let pointer = add(&[0, 2 << 24, 0]);
    for (name, arguments) in tracepoints {
        let types = arguments.iter().map(|kind| match *kind {
            "int" => integer,
            "blk_status_t" => status,
            "bool" => boolean,
            "*" => pointer,
            other => panic!("{other}"),
        });
        // The first argument is the tracepoint's own.
        let parameters: Vec<u32> = std::iter::once(pointer).chain(types).flat_map(|kind| [0, kind]).collect();
        let mut words = vec![0, 13 << 24 | (parameters.len() / 2) as u32, 0];
        words.extend(parameters);
        let prototype = add(&words);
        let pointer = add(&[0, 2 << 24, prototype]);
        add(&[text(&format!("btf_trace_{name}")), 8 << 24, pointer]);
    }
    for name in functions {
        let prototype = add(&[0, 13 << 24, 0]);
        add(&[text(name), 12 << 24, prototype]);
    }
    let (types_length, strings_length) = (types.len() as u32, strings.len() as u32);
    let mut bytes = 0xeb9f_u16.to_ne_bytes().to_vec();
    bytes.extend([1, 0]);
    for word in [24, 0, types_length, types_length, strings_length] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(types);
    bytes.extend(strings);
    Btf::parse(bytes).expect("it is BTF")
}

fn knobs_of(tracepoints: &[(&str, &[&str])], functions: &[&str], disabled: &[&str]) -> Knobs {
    let kernel = Kernel {
        offsets: monitor_common::offsets::Offsets::MISSING,
        btf: btf(tracepoints, functions),
        aya: aya::Btf::new(),
        cpus: 2,
        disabled: disabled.iter().map(|&hook| hook.to_owned()).collect(),
        refused: Vec::new(),
    };
    let settings = Settings {
        signals: vec![],
        timing: Timing::Full,
        tls: false,
        may_shed: false,
        slots: 64,
        security_ring: 4096,
        telemetry_ring: 4096,
        bulk_ring: 4096,
        requests_ring: 1 << 16,
        l7_rate: 0,
        log_level: 0,
    };
    knobs(&kernel, &settings, 2)
}

#[test]
fn the_end_of_a_process_is_told_by_an_argument_or_not() {
    let before: &[&str] = &["*"];
    assert_eq!(knobs_of(&[("sched_process_exit", before)], &[], &[]).exit_tells_group, 0);
    assert_eq!(knobs_of(&[("sched_process_exit", &["*", "bool"])], &[], &[]).exit_tells_group, 1);
}

#[test]
fn a_block_request_is_the_first_argument_or_the_second() {
    // The queue was the first before Linux 5.11.
    assert_eq!(knobs_of(&[("block_rq_issue", &["*", "*"])], &[], &[]).block_request_argument, 1);
    assert_eq!(knobs_of(&[("block_rq_issue", &["*"])], &[], &[]).block_request_argument, 0);
}

#[test]
fn the_error_of_a_block_request_is_an_errno_or_a_status() {
    assert_eq!(knobs_of(&[("block_rq_complete", &["*", "int", "int"])], &[], &[]).block_errors_are_errno, 1);
    assert_eq!(knobs_of(&[("block_rq_complete", &["*", "blk_status_t", "int"])], &[], &[]).block_errors_are_errno, 0);
}

#[test]
fn traffic_is_counted_by_call_only_when_both_directions_can_be() {
    let both: &[(&str, &[&str])] =
        &[("sock_send_length", &["*", "int", "int"]), ("sock_recv_length", &["*", "int", "int"])];
    assert_eq!(knobs_of(both, &[], &[]).traffic_by_call, 1);
    assert_eq!(knobs_of(&both[..1], &[], &[]).traffic_by_call, 0);
    assert_eq!(knobs_of(both, &[], &["sock_recv_length"]).traffic_by_call, 0);
}

#[test]
fn what_a_kernel_lacks_is_not_used() {
    let bare = knobs_of(&[], &[], &[]);
    assert_eq!((bare.has_current_task_btf, bare.block_io_start, bare.compat_mask), (0, 0, 0));
    let rich = knobs_of(&[("block_io_start", &["*"])], &["bpf_get_current_task_btf"], &[]);
    assert_eq!((rich.has_current_task_btf, rich.block_io_start), (1, 1));
}
