//! Turns what the kernel object says about itself into Rust constants. Pure text in, text out; xtask tests it.

use std::fmt::Write as _;

use anyhow::{Result, bail, ensure};

/// A kernel program: the name of its function and the section it is in.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) section: String,
}

/// Where a program attaches, as Rust source: `BtfTracepoint { name: "sched_process_exec" }`.
pub(crate) fn attach(section: &str) -> Result<String> {
    let parts: Vec<&str> = section.split('/').collect();
    Ok(match parts.as_slice() {
        ["tracepoint" | "tp", category, name] => format!("Tracepoint {{ category: {category:?}, name: {name:?} }}"),
        ["raw_tp" | "raw_tracepoint", name] => format!("RawTracepoint {{ name: {name:?} }}"),
        ["tp_btf", name] => format!("BtfTracepoint {{ name: {name:?} }}"),
        ["uprobe"] => "Uprobe { returns: false }".to_owned(),
        ["uretprobe"] => "Uprobe { returns: true }".to_owned(),
        ["fexit", name] => format!("FunctionExit {{ name: {name:?} }}"),
        ["lsm", name] => format!("Lsm {{ name: {name:?} }}"),
        _ => bail!("section {section:?} names no attach point that the daemon knows (monitor/build/names.rs)"),
    })
}

/// The whole generated file: the names of all maps and programs.
pub(crate) fn render(mut maps: Vec<String>, mut programs: Vec<Program>) -> Result<String> {
    ensure!(!programs.is_empty(), "the kernel object has no programs");
    maps.sort_unstable();
    programs.sort_unstable();
    let mut text = String::from("/// The maps of the kernel object.\npub mod maps {\n");
    for map in &maps {
        writeln!(text, "    /// Map `{map}`.\n    pub const {}: &str = {map:?};", map.to_uppercase())?;
    }
    text.push_str(
        "}\n\n/// The programs of the kernel object.\npub mod programs {\n    use super::{Attach, Program};\n\n",
    );
    for Program { name, section } in &programs {
        let attach = attach(section)?;
        writeln!(text, "    /// Program `{name}`, section `{section}`.")?;
        writeln!(
            text,
            "    pub const {}: Program = Program {{ name: {name:?}, attach: Attach::{attach} }};",
            name.to_uppercase()
        )?;
    }
    let all: Vec<String> = programs.iter().map(|program| program.name.to_uppercase()).collect();
    writeln!(text, "    /// All of them.\n    pub const ALL: &[Program] = &[{}];\n}}", all.join(", "))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_of_each_kind() {
        assert_eq!(
            attach("tracepoint/syscalls/sys_enter_bind").unwrap(),
            r#"Tracepoint { category: "syscalls", name: "sys_enter_bind" }"#
        );
        assert_eq!(attach("raw_tp/sys_enter").unwrap(), r#"RawTracepoint { name: "sys_enter" }"#);
        assert_eq!(attach("lsm/task_kill").unwrap(), r#"Lsm { name: "task_kill" }"#);
        assert_eq!(attach("fexit/tcp_sendmsg").unwrap(), r#"FunctionExit { name: "tcp_sendmsg" }"#);
        assert_eq!(attach("uprobe").unwrap(), "Uprobe { returns: false }");
        assert_eq!(attach("uretprobe").unwrap(), "Uprobe { returns: true }");
        assert_eq!(attach("tp_btf/block_rq_issue").unwrap(), r#"BtfTracepoint { name: "block_rq_issue" }"#);
    }

    #[test]
    fn a_section_without_an_attach_point_is_refused_by_name() {
        for section in ["tp_btf", "kprobe/do_exit", "tracepoint/sched", ""] {
            let error = attach(section).unwrap_err().to_string();
            assert!(error.contains(&format!("{section:?}")), "{error}");
        }
    }

    #[test]
    fn constants_are_sorted_and_complete() {
        let program = |name: &str, section: &str| Program { name: name.into(), section: section.into() };
        let text = render(
            vec!["SLOTS".into(), "AYA_LOGS".into()],
            vec![program("sys_exit", "tp_btf/sys_exit"), program("exec", "tp_btf/sched_process_exec")],
        )
        .unwrap();
        assert!(text.find("AYA_LOGS").unwrap() < text.find("pub const SLOTS: &str = \"SLOTS\";").unwrap(), "{text}");
        let exec = r#"pub const EXEC: Program = Program { name: "exec", attach: Attach::BtfTracepoint { name: "sched_process_exec" } };"#;
        assert!(text.contains(exec), "{text}");
        assert!(text.contains("pub const ALL: &[Program] = &[EXEC, SYS_EXIT];"), "{text}");
    }

    #[test]
    fn an_object_without_programs_is_a_mistake() {
        assert!(render(vec!["SLOTS".into()], Vec::new()).is_err());
    }
}
