//! Where commands write. A reader that goes away (`monitor events | head`) ends a command, and is no failure.

use std::io::{self, Write};

use super::exit::Exit;

/// Standard output and standard error, or what stands in for them in tests.
pub struct Console<'a> {
    /// What was asked for.
    pub out: &'a mut dyn Write,
    /// What went wrong.
    pub err: &'a mut dyn Write,
    /// A person reads the output.
    pub terminal: bool,
}

impl Console<'_> {
    /// Writes `text` to the output.
    ///
    /// # Errors
    /// The output takes no more; [`Console::ended`] says what that means.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Writes a message to standard error. When that is closed there is nobody left to tell.
    pub fn complain(&mut self, message: &str) {
        let _ = writeln!(self.err, "monitor: {message}");
    }

    /// What the end of writing means.
    pub fn ended(&mut self, written: io::Result<()>) -> Exit {
        match written {
            Ok(()) => Exit::OK,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::OK,
            Err(error) => {
                self.complain(&format!("cannot write the output: {error}"));
                Exit::FAILURE
            }
        }
    }
}
