//! Where the kernel has no tracepoints on what sockets send and receive (before Linux 6.3): the ends of the functions that do
//! it. They run in the task that calls, as those do, and tell the same; but only of the protocols that are asked for here, and
//! not what is spliced out of a socket.
//!
//! Their return value stands behind their arguments, of which later kernels have one less.

use aya_ebpf::{macros::fexit, programs::FExitContext};
use monitor_common::signals::tcp::{RECEIVED, SENT};

use crate::{
    kernel::socket,
    settings::{knob, offset},
    signals::tcp::{self, MSG_ERRQUEUE, MSG_PEEK},
};

/// `int tcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t size)`
#[fexit(function = "tcp_sendmsg")]
fn l7_tcp_send(ctx: FExitContext) -> i32 {
    sent(&ctx, ctx.arg(3))
}

/// `int tcp_sendpage(struct sock *sk, struct page *page, int offset, size_t size, int flags)`, before Linux 6.5: sendfile.
#[fexit(function = "tcp_sendpage")]
fn l7_tcp_send_page(ctx: FExitContext) -> i32 {
    sent(&ctx, ctx.arg(5))
}

/// `int tcp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, int *addr_len)`; before Linux 5.19 with
/// `int nonblock` before the flags.
#[fexit(function = "tcp_recvmsg")]
fn l7_tcp_receive(ctx: FExitContext) -> i32 {
    received(&ctx)
}

/// `int udp_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)`
#[fexit(function = "udp_sendmsg")]
fn l7_udp_send(ctx: FExitContext) -> i32 {
    let sock: *const u8 = ctx.arg(0);
    // The function for IPv6 calls this one where the address is one of IPv4.
    // SAFETY: an argument, of which the verifier knows the type.
    if unsafe { socket::is_inet6(crate::kernel::read::direct(sock, offset!(sock_family))) } {
        return 0;
    }
    sent(&ctx, ctx.arg(3))
}

/// `int udpv6_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)`
#[fexit(function = "udpv6_sendmsg")]
fn l7_udp6_send(ctx: FExitContext) -> i32 {
    sent(&ctx, ctx.arg(3))
}

/// `int udp_recvmsg(…)`, as that of TCP.
#[fexit(function = "udp_recvmsg")]
fn l7_udp_receive(ctx: FExitContext) -> i32 {
    received(&ctx)
}

/// `int udpv6_recvmsg(…)`, as that of TCP.
#[fexit(function = "udpv6_recvmsg")]
fn l7_udp6_receive(ctx: FExitContext) -> i32 {
    received(&ctx)
}

#[inline(always)]
fn sent(ctx: &FExitContext, length: i32) -> i32 {
    if length > 0 {
        // SAFETY: an argument, of which the verifier knows the type.
        unsafe { tcp::heard(ctx.arg(0), length, SENT) };
    }
    0
}

#[inline(always)]
fn received(ctx: &FExitContext) -> i32 {
    let (flags, length): (i32, i32) =
        if knob!(receive_arguments) == 6 { (ctx.arg(4), ctx.arg(6)) } else { (ctx.arg(3), ctx.arg(5)) };
    if length > 0 && flags & (MSG_PEEK | MSG_ERRQUEUE) == 0 {
        // SAFETY: an argument, of which the verifier knows the type.
        unsafe { tcp::heard(ctx.arg(0), length, RECEIVED) };
    }
    0
}
