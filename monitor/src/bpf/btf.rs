//! A reader of BTF, the kernel's description of its own types: where a struct's fields are, which tracepoints there are
//! and with how many arguments. (aya loads programs with it but does not tell where fields are.) The format:
//! <https://docs.kernel.org/bpf/btf.html>.

use monitor_common::offsets::{Field, SIZE};

use std::{collections::HashMap, fs, io, path::Path};

/// Why BTF cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// The file is something else.
    #[error("it is not BTF of this machine's byte order (magic number {0:#06x})")]
    Magic(u16),
    /// The file ends too early or points outside itself.
    #[error("it is cut off or damaged at byte {0}")]
    Damaged(usize),
    /// A kind of type that was invented later.
    #[error("it has a kind of type ({0}) that this program does not know")]
    Kind(u32),
}

const MAGIC: u16 = 0xeb9f;

// Kinds of types (include/uapi/linux/btf.h).
const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FWD: u32 = 7;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const FLOAT: u32 = 16;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

/// Longest chain of typedefs and nested structs that is followed; a damaged file could have a circle.
const DEPTH: u32 = 32;

/// The kernel's types.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    strings: usize,
    /// Where each type's record begins, by type number less one.
    types: Vec<u32>,
    /// Structs, typedefs and functions by kind and name.
    by_name: HashMap<(u32, Box<[u8]>), u32>,
}

/// The head of a type's record.
struct Type {
    /// Where what follows the head begins.
    body: usize,
    kind: u32,
    length: usize,
    /// Bit-field sizes are packed into member offsets.
    packed: bool,
    /// The type referred to; of a struct its size.
    target: u32,
}

impl Btf {
    /// Reads `path`, usually `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// When the file cannot be read or is no BTF.
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        Self::parse(fs::read(path)?)
    }

    /// Takes the contents of a BTF file.
    ///
    /// # Errors
    /// When they are no BTF, cut off, or newer than this program.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        let word = |at: usize| read_word(&bytes, at);
        let magic = (word(0)? & 0xffff) as u16;
        if magic != MAGIC {
            return Err(BtfError::Magic(magic));
        }
        let header = word(4)? as usize;
        let section = |at: usize| -> Result<(usize, usize), BtfError> {
            let start = header.checked_add(word(at)? as usize).ok_or(BtfError::Damaged(at))?;
            let end = start.checked_add(word(at + 4)? as usize).ok_or(BtfError::Damaged(at))?;
            if end > bytes.len() { Err(BtfError::Damaged(at)) } else { Ok((start, end)) }
        };
        let (types_start, types_end) = section(8)?;
        let (strings, _) = section(16)?;
        let mut btf = Self { strings, types: Vec::new(), by_name: HashMap::new(), bytes };
        btf.index(types_start, types_end)?;
        Ok(btf)
    }

    fn index(&mut self, start: usize, end: usize) -> Result<(), BtfError> {
        let mut at = start;
        while at < end {
            let head = self.head(at)?;
            let number = self.types.len() as u32 + 1;
            self.types.push(at as u32);
            if matches!(head.kind, STRUCT | TYPEDEF | FUNC) {
                let name = self.text(read_word(&self.bytes, at)?);
                // A name may occur again for a type that is local to one source file: the first is the kernel's.
                self.by_name.entry((head.kind, name.into())).or_insert(number);
            }
            at = head.body
                + match head.kind {
                    INT | VAR | DECL_TAG => 4,
                    ARRAY => 12,
                    STRUCT | UNION | DATASEC | ENUM64 => 12 * head.length,
                    ENUM | FUNC_PROTO => 8 * head.length,
                    PTR | FWD | TYPEDEF | VOLATILE | CONST | RESTRICT | FUNC | FLOAT | TYPE_TAG => 0,
                    kind => return Err(BtfError::Kind(kind)),
                };
        }
        Ok(())
    }

    fn head(&self, at: usize) -> Result<Type, BtfError> {
        let info = read_word(&self.bytes, at + 4)?;
        Ok(Type {
            body: at + 12,
            kind: info >> 24 & 0x1f,
            length: (info & 0xffff) as usize,
            packed: info >> 31 == 1,
            target: read_word(&self.bytes, at + 8)?,
        })
    }

    fn text(&self, offset: u32) -> &[u8] {
        let tail = self.bytes.get(self.strings + offset as usize..).unwrap_or_default();
        &tail[..tail.iter().position(|byte| *byte == 0).unwrap_or(tail.len())]
    }

    fn of_number(&self, number: u32) -> Option<Type> {
        let at = *self.types.get((number as usize).checked_sub(1)?)?;
        self.head(at as usize).ok()
    }

    fn named(&self, kind: u32, name: &str) -> Option<u32> {
        self.by_name.get(&(kind, name.as_bytes().into())).copied()
    }

    /// Follows typedefs and qualifiers to the type itself.
    fn itself(&self, mut number: u32) -> Option<Type> {
        for _ in 0..DEPTH {
            let kind = self.of_number(number)?;
            if !matches!(kind.kind, TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG) {
                return Some(kind);
            }
            number = kind.target;
        }
        None
    }

    /// Offset in bytes of an entry of the table of offsets.
    pub fn find_field(&self, field: &Field) -> Option<u64> {
        let names = || field.paths.iter();
        field.container.split('|').find_map(|container| names().find_map(|path| self.field_offset(container, path)))
    }

    /// Offset in bytes of a field of a struct; `path` may lead through nested structs (`a.b.c`). Members of anonymous
    /// structs and unions belong to the struct around them, as in C. [`SIZE`] is the struct's own size.
    pub fn field_offset(&self, container: &str, path: &str) -> Option<u64> {
        if path == SIZE {
            return self.of_number(self.named(STRUCT, container)?).map(|found| u64::from(found.target));
        }
        let names: Vec<&str> = path.split('.').collect();
        self.find(self.named(STRUCT, container)?, &names, DEPTH).map(|bits| bits / 8)
    }

    /// Offset in bits.
    fn find(&self, number: u32, path: &[&str], depth: u32) -> Option<u64> {
        let container = self.itself(number)?;
        let (first, rest) = path.split_first()?;
        if !matches!(container.kind, STRUCT | UNION) || depth == 0 {
            return None;
        }
        for member in 0..container.length {
            let at = container.body + 12 * member;
            let word = |index: usize| read_word(&self.bytes, at + 4 * index).ok();
            let (name, kind, offset) = (self.text(word(0)?), word(1)?, word(2)?);
            let offset = u64::from(if container.packed { offset & 0xff_ffff } else { offset });
            let inner = if name == first.as_bytes() {
                if rest.is_empty() { Some(0) } else { self.find(kind, rest, depth - 1) }
            } else if name.is_empty() {
                self.find(kind, path, depth - 1)
            } else {
                continue;
            };
            if let Some(inner) = inner {
                return Some(offset + inner);
            }
        }
        None
    }

    /// Is there such a function?
    pub fn has_function(&self, name: &str) -> bool {
        self.named(FUNC, name).is_some()
    }

    /// Number of arguments of a function; `None`: there is no such function.
    pub fn function_arguments(&self, name: &str) -> Option<usize> {
        let function = self.itself(self.of_number(self.named(FUNC, name)?)?.target)?;
        (function.kind == FUNC_PROTO).then_some(function.length)
    }

    /// Number of arguments of a tracepoint; `None`: there is no such tracepoint.
    pub fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        self.tracepoint(name).map(|function| function.length.saturating_sub(1))
    }

    /// Name of the type of a tracepoint's argument, as declared; `None` also for a type without a name, as a pointer.
    pub fn tracepoint_argument_type(&self, tracepoint: &str, argument: usize) -> Option<String> {
        let function = self.tracepoint(tracepoint).filter(|function| argument + 1 < function.length)?;
        let number = read_word(&self.bytes, function.body + 8 * (argument + 1) + 4).ok()?;
        let mut at = *self.types.get((number as usize).checked_sub(1)?)? as usize;
        for _ in 0..DEPTH {
            let head = self.head(at).ok()?;
            if !matches!(head.kind, VOLATILE | CONST | RESTRICT) {
                let name = self.text(read_word(&self.bytes, at).ok()?);
                return (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned());
            }
            at = *self.types.get((head.target as usize).checked_sub(1)?)? as usize;
        }
        None
    }

    /// `typedef void (*btf_trace_NAME)(void *, arguments…)`
    fn tracepoint(&self, name: &str) -> Option<Type> {
        let pointer = self.itself(self.named(TYPEDEF, &format!("btf_trace_{name}"))?)?;
        let function = self.itself(pointer.target)?;
        (pointer.kind == PTR && function.kind == FUNC_PROTO).then_some(function)
    }
}

fn read_word(bytes: &[u8], at: usize) -> Result<u32, BtfError> {
    let end = at.checked_add(4).ok_or(BtfError::Damaged(at))?;
    let word = bytes.get(at..end).and_then(|word| word.try_into().ok()).ok_or(BtfError::Damaged(at))?;
    Ok(u32::from_ne_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> Btf {
        Btf::read(Path::new("/sys/kernel/btf/vmlinux")).expect("this kernel has BTF")
    }

    #[test]
    fn functions_have_their_arguments() {
        let btf = running();
        assert_eq!(btf.function_arguments("tcp_sendmsg"), Some(3));
        assert!(matches!(btf.function_arguments("tcp_recvmsg"), Some(5 | 6)));
        assert_eq!(btf.function_arguments("no_such_function"), None);
    }

    #[test]
    fn fields_of_the_running_kernel_are_found() {
        let btf = running();
        // The layout of list_head is fixed by what it is; sock_common begins every sock.
        assert_eq!(btf.field_offset("list_head", "next"), Some(0));
        assert_eq!(btf.field_offset("list_head", "prev"), Some(8));
        assert_eq!(btf.field_offset("sock", "__sk_common"), Some(0));
        // Through an anonymous union inside a nested struct.
        assert_eq!(btf.field_offset("sock", "__sk_common.skc_daddr"), Some(0));
        assert_eq!(btf.field_offset("sock", "__sk_common.skc_rcv_saddr"), Some(4));
        assert_eq!(btf.field_offset("task_struct", "no_such_field"), None);
        assert_eq!(btf.field_offset("no_such_struct", "a"), None);
        assert_eq!(btf.field_offset("list_head", SIZE), Some(16));
        assert_eq!(btf.field_offset("no_such_struct", SIZE), None);
        let either = Field { name: "", container: "no_such_struct|list_head", paths: &["no_such_field", "prev"] };
        assert_eq!(btf.find_field(&either), Some(8));
    }

    #[test]
    fn tracepoints_and_functions_of_the_running_kernel_are_found() {
        let btf = running();
        assert_eq!(btf.tracepoint_arguments("sys_enter"), Some(2));
        assert_eq!(btf.tracepoint_arguments("inet_sock_set_state"), Some(3));
        assert_eq!(btf.tracepoint_arguments("no_such_tracepoint"), None);
        assert_eq!(btf.tracepoint_argument_type("inet_sock_set_state", 1).as_deref(), Some("int"));
        assert_eq!(btf.tracepoint_argument_type("inet_sock_set_state", 0), None, "a pointer");
        assert_eq!(btf.tracepoint_argument_type("inet_sock_set_state", 9), None);
        assert!(btf.has_function("vfs_read"));
        assert!(!btf.has_function("no_such_function"));
    }

    #[test]
    fn a_damaged_file_is_an_error_and_never_a_panic() {
        let whole = fs::read("/sys/kernel/btf/vmlinux").expect("read");
        assert!(matches!(Btf::parse(Vec::new()), Err(BtfError::Damaged(0))));
        assert!(matches!(Btf::parse(b"\x7fELF and more".to_vec()), Err(BtfError::Magic(_))));
        for length in [8, 20, 24, 100, 4096, whole.len() / 2, whole.len() - 1] {
            assert!(Btf::parse(whole[..length].to_vec()).is_err(), "cut at {length}");
        }
        // Types that refer to themselves.
        let mut circle = whole[..24].to_vec();
        circle[8..24].copy_from_slice(&[0, 0, 0, 0, 12, 0, 0, 0, 12, 0, 0, 0, 3, 0, 0, 0]);
        circle.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, TYPEDEF as u8, 1, 0, 0, 0]);
        circle.extend_from_slice(b"\0a\0");
        let btf = Btf::parse(circle).expect("well formed");
        assert_eq!(btf.field_offset("a", "b"), None);
        assert_eq!(btf.tracepoint_arguments("a"), None);
    }
}
