//! `activity`: what is asked by the convention of 32-bit programs or through io_uring is told as the call that does the same.

use std::net::TcpListener;

use monitor_tests::{Daemon, Told, Workload, again_if_missed, directory, expected};
use serde_json::json;

use super::activity_calls::{Asks, args, this_process};

/// The same asked as 32-bit programs ask.
#[test]
#[cfg(target_arch = "x86_64")]
fn calls_of_32_bit_programs_are_told_as_their_twins() {
    again_if_missed(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (results, told) = Asks::default()
            .ask32(102, "1 words:2,1,0")
            .ask32(102, &format!("3 words:$0,inet:127.0.0.1:{port},16"))
            .ask32(359, "2 2 0")
            .ask32(63, "$0 2")
            .ask32(37, "%% 28")
            .ask32(90, "words:0,4096,7,0x22,-1,0")
            .ask32(192, "0 4096 7 0x22 -1 0")
            .ask32(208, "3001 3002 3003")
            // getppid, and listing sockets by the same call.
            .ask32(64, "")
            .ask32(102, "6 words:$0,0,0")
            .told(&["socket", "connect", "socket", "dup2", "kill", "mmap", "mmap2", "setresuid32"]);
        assert!(told.iter().all(|told| told.text("/via") == "compat"), "{told:?}");
        assert_eq!((told[0].result(), args(&told[0])[..3].to_vec()), (results[0], vec![2, 1, 0]));
        assert_eq!(told[1].text("/socket/peer"), format!("127.0.0.1:{port}"));
        assert_eq!(told[3].number("/socket/inode"), told[0].number("/socket/inode"));
        assert_eq!(told[4].number("/target/pid"), this_process());
        assert_eq!((told[5].number("/args/2"), told[6].number("/args/2")), (7, 7));
        assert_eq!((told[7].number("/uid"), told[7].number("/suid")), (3001, 3003));
    });
}

/// What is asked in a ring, by the fields of `struct io_uring_sqe` (opcode, fd, off, addr, len, flags), and the name of the
/// call that does the same.
fn requests(path: &str, port: u16) -> Vec<(String, &'static str)> {
    let request = |request: String, call| (format!("request {request}"), call);
    vec![
        // What is made first is used later: $0 is a socket, $1 a datagram socket, $3 a file.
        request(format!("18 -100 0 @{path}/file 420 0x241"), "openat"),
        request("45 2 1 0 0 0".into(), "socket"),
        request("45 2 2 0 0 0".into(), "socket"),
        request(format!("28 -100 longs:0x2,0,0 @{path}/file 24 0"), "openat2"),
        request(format!("39 -100 @{path}/link @{path}/file -100 0"), "linkat"),
        request(format!("37 -100 0 @{path}/sub 448 0"), "mkdirat"),
        request(format!("38 -100 @{path}/text @pointed/at 0 0"), "symlinkat"),
        request(format!("35 -100 @{path}/new @{path}/link -100 1"), "renameat"),
        request(format!("36 -100 0 @{path}/sub 0 0x200"), "unlinkat"),
        request(format!("36 -100 0 @{path}/new 0 0"), "unlinkat"),
        request("41 $3 @value @user.kernel_tests 5 0".into(), "fsetxattr"),
        request("55 $3 3 0 0 0".into(), "ftruncate"),
        request(format!("16 $0 16 inet:127.0.0.1:{port} 0 0"), "connect"),
        request("56 $1 16 inet:127.0.0.1:0 0 0".into(), "bind"),
        request(format!("9 $1 0 longs:inet:127.0.0.1:{port},16,longs:@x,1,1,0,0,0 1 0"), "sendmsg"),
        request("57 $1 0 0 7 0".into(), "listen"),
    ]
}

/// A polling thread of the kernel's takes the requests (`IORING_SETUP_SQPOLL`).
const SQPOLL: u32 = 2;

#[test]
fn what_is_asked_through_io_uring_is_told_as_if_it_were_called() {
    again_if_missed(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        for flags in [0, SQPOLL] {
            let place = directory();
            let path = place.path().to_str().unwrap();
            let daemon = Daemon::start(&format!(
                "[rules]\ndefaults = false\n[log]\nlevel = \"info,monitor::activity=debug\"\n[activity]\nwatch = [\"{path}/\"]\n\
             kinds = [\"socket\", \"connect\", \"bind\", \"listen\", \"send\"]\n"
            ));
            let requests = requests(path, port);
            // Before Linux 5.19 a ring makes no sockets.
            let sockets = Asks::default().ask(libc::SYS_socket, "2 1 0").ask(libc::SYS_socket, "2 2 0");
            let mut asks = sockets.step(format!("ring {flags}"));
            for (step, _) in &requests {
                asks = asks.step(step);
            }
            let steps: Vec<&str> = asks.steps.iter().map(String::as_str).collect();
            let mut workload = Workload::spawn(&steps);
            let results: Vec<i64> = (0..requests.len() + 3).map(|_| workload.line().parse().unwrap()).collect();
            let pid = workload.finish().pid;
            // What this kernel does not know it refuses before anything is submitted.
            let unknown = |index: usize| results[index + 3] == i64::from(-libc::EINVAL);
            assert!(!(0..requests.len()).any(unknown) || expected::version() < (6, 11), "{results:?}");
            let done: Vec<&str> =
                (0..requests.len()).filter(|index| !unknown(*index)).map(|index| requests[index].1).collect();
            let of_ring = |told: &&Told| told.text("/via") == "iouring";
            let told = daemon.told(pid, |told| told.iter().filter(of_ring).map(Told::call).eq(done.iter().copied()));
            for told in told.iter().filter(of_ring) {
                let name =
                    |part: &str| told.text(&format!("/{part}/path")).strip_prefix(path).unwrap_or_default().to_owned();
                let at = format!("{told:?}");
                assert_eq!(told.result(), 0, "{at}");
                match told.call() {
                    // The kernel has added O_LARGEFILE.
                    "openat" => assert_eq!(
                        (&*name("name"), told.number("/args/2") & 0xfff, told.number("/args/3")),
                        ("/file", 0x241, 420),
                        "{at}"
                    ),
                    "openat2" => assert_eq!((&*name("name"), told.number("/args/2") & 0xfff), ("/file", 2), "{at}"),
                    "linkat" => assert_eq!((&*name("name"), &*name("other")), ("/file", "/link"), "{at}"),
                    "mkdirat" => assert_eq!((&*name("name"), told.number("/args/2")), ("/sub", 448), "{at}"),
                    "symlinkat" => {
                        assert_eq!((&*name("name"), told.text("/other/raw")), ("/text", "pointed/at"), "{at}")
                    }
                    "renameat" => assert_eq!((&*name("name"), &*name("other")), ("/link", "/new"), "{at}"),
                    "unlinkat" if told.text("/kind") == "rmdir" => assert_eq!(name("name"), "/sub", "{at}"),
                    "unlinkat" => assert_eq!((&*name("name"), told.text("/kind")), ("/new", "unlink"), "{at}"),
                    "fsetxattr" => assert_eq!(
                        (told.text("/other/raw"), told.text("/path")),
                        ("user.kernel_tests", &*format!("{path}/file"))
                    ),
                    "ftruncate" => {
                        assert_eq!((told.number("/args/1"), told.text("/path")), (3, &*format!("{path}/file")))
                    }
                    "socket" => assert_eq!((told.number("/socket/family"), told.number("/args/0")), (2, 2), "{at}"),
                    "connect" | "sendmsg" => assert_eq!(
                        (told.text("/socket/peer"), told.at("/socket/peer_asked")),
                        (&*format!("127.0.0.1:{port}"), &json!(true)),
                        "{at}"
                    ),
                    "bind" => assert_eq!(told.text("/socket/peer"), "127.0.0.1:0", "{at}"),
                    "listen" => assert_eq!(told.number("/args/1"), 7, "{at}"),
                    other => panic!("{other}"),
                }
            }
        }
    });
}
