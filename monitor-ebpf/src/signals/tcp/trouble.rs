//! What goes wrong on the way: segments that are sent again, and resets.

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use monitor_common::{
    process_slot::SlotRef,
    signals::tcp::{RECEIVED, RETRANSMIT_DATA, RETRANSMIT_SYN, RETRANSMIT_SYNACK, SENT},
};

use super::{CLOSE, SYN_SENT, UNOWNED, owner, stats};
use crate::{atomic::add, kernel::read::Object, settings::offset, slots};

/// `tcp_retransmit_skb(const struct sock *sk, const struct sk_buff *skb, …)`
#[btf_tracepoint(function = "tcp_retransmit_skb")]
fn tcp_retransmit(ctx: BtfTracePointContext) -> i32 {
    let (sock, skb): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    let connecting = i32::from(Object(sock).field::<u8>(offset!(sock_state))) == SYN_SENT;
    // One buffer may stand for many segments (segmentation offload): counting calls would undercount.
    let segments: u16 = Object(skb).embedded(offset!(skb_cb)).field(offset!(tcp_skb_gso_segs));
    retransmitted(sock, if connecting { RETRANSMIT_SYN } else { RETRANSMIT_DATA }, u64::from(segments.max(1)));
    0
}

/// `tcp_retransmit_synack(const struct sock *sk, const struct request_sock *req)`: `sk` listens.
#[btf_tracepoint(function = "tcp_retransmit_synack")]
fn tcp_retransmit_synack(ctx: BtfTracePointContext) -> i32 {
    retransmitted(ctx.arg(0), RETRANSMIT_SYNACK, 1);
    0
}

#[inline(always)]
fn retransmitted(sock: u64, kind: usize, segments: u64) {
    if let Some(stats) = stats(owner(sock).unwrap_or(UNOWNED)) {
        // SAFETY: a map value; the kind is below the length.
        unsafe { add((&raw mut (*stats).retransmits).cast::<u64>().add(kind), segments) };
    }
}

/// `tcp_send_reset(const struct sock *sk, const struct sk_buff *skb, …)`: `sk` may be none.
#[btf_tracepoint(function = "tcp_send_reset")]
fn tcp_reset_sent(ctx: BtfTracePointContext) -> i32 {
    let (sock, skb): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    // A reset that answers no packet is sent by `close` and `disconnect`, after they have closed the socket: then its
    // owner is forgotten already, but runs.
    let closing = sock != 0 && skb == 0 && i32::from(Object(sock).field::<u8>(offset!(sock_state))) == CLOSE;
    let owner = match owner(sock) {
        Some(owner) => owner,
        None if closing => match slots::current() {
            Some(owner) => owner,
            None => return 0,
        },
        None => UNOWNED,
    };
    reset(owner, SENT);
    0
}

/// `tcp_receive_reset(struct sock *sk)`
#[btf_tracepoint(function = "tcp_receive_reset")]
fn tcp_reset_received(ctx: BtfTracePointContext) -> i32 {
    reset(owner(ctx.arg(0)).unwrap_or(UNOWNED), RECEIVED);
    0
}

#[inline(always)]
fn reset(owner: SlotRef, direction: usize) {
    if let Some(stats) = stats(owner) {
        // SAFETY: a map value; the direction is 0 or 1.
        unsafe { add((&raw mut (*stats).resets).cast::<u64>().add(direction), 1) };
    }
}
