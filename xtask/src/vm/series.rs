//! Which kernel is meant: a series such as `6.1`, or the newest there is; and for which processor.

use std::{cmp::Ordering, fmt, str::FromStr};

use anyhow::{Context as _, Error, Result, bail};

/// A kind of processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arch {
    X86,
    Arm64,
}

impl Arch {
    /// What names of kernels and of files begin with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::X86 => "",
            Self::Arm64 => "arm64-",
        }
    }

    /// Debian's kernels without drivers for hardware: small, and complete in all that matters here.
    pub(super) fn flavour(self) -> &'static str {
        match self {
            Self::X86 => "-cloud-amd64",
            Self::Arm64 => "-cloud-arm64",
        }
    }

    /// Ends the name of a package that apt would otherwise take for this machine's own kind of processor.
    fn suffix(self) -> &'static str {
        match self {
            Self::X86 => "",
            Self::Arm64 => ":arm64",
        }
    }
}

/// A kernel by name. The newest package of it is found at run time: distributions remove old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Series {
    pub(super) arch: Arch,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// The newest of all.
    Newest,
    /// The newest of a series, such as 6.12.
    Of(u32, u32),
}

impl Series {
    /// The newest of all, for x86-64.
    pub(crate) const NEWEST: Self = Self { arch: Arch::X86, version: Version::Newest };

    /// The newest of a series, for x86-64.
    pub(crate) const fn of(major: u32, minor: u32) -> Self {
        Self { arch: Arch::X86, version: Version::Of(major, minor) }
    }

    /// Does what is built for this machine run on it?
    pub(crate) fn is_for_here(self) -> bool {
        self.arch == Arch::X86
    }
}

impl FromStr for Series {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (arch, text) = match text.strip_prefix(Arch::Arm64.prefix()) {
            Some(rest) => (Arch::Arm64, rest),
            None => (Arch::X86, text),
        };
        if text == "newest" {
            return Ok(Self { arch, version: Version::Newest });
        }
        let parts = text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let (major, minor) = parts
            .with_context(|| format!("{text:?} is no kernel: say a series such as 5.10 or arm64-6.12, or newest"))?;
        Ok(Self { arch, version: Version::Of(major, minor) })
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.arch.prefix())?;
        self.version.fmt(f)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => write!(f, "newest"),
            Self::Of(major, minor) => write!(f, "{major}.{minor}"),
        }
    }
}

/// A list such as `5.10,6.1,newest`.
pub(crate) fn list(text: &str) -> Result<Vec<Series>> {
    let mut all = Vec::new();
    for name in text.split(',') {
        let series = name.trim().parse()?;
        if all.contains(&series) {
            bail!("{series} is named twice");
        }
        all.push(series);
    }
    Ok(all)
}

/// A kernel as Debian packages it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packaged {
    /// Version in the package's name, such as `6.12.107+deb13`.
    pub(super) version: String,
    /// The packages that have kernel and modules.
    pub(super) packages: Vec<String>,
}

impl Series {
    fn includes(self, version: &str) -> bool {
        match self.version {
            Version::Newest => true,
            series => version.strip_prefix(&series.to_string()).is_some_and(|rest| rest.starts_with('.')),
        }
    }

    /// The newest kernel of this series among the names of all packages, one a line.
    pub(super) fn choose(self, names: &str) -> Option<Packaged> {
        let (flavour, suffix) = (self.arch.flavour(), self.arch.suffix());
        let version = |name: &'_ str| -> Option<String> {
            let version = name.strip_prefix("linux-image-").or_else(|| name.strip_prefix("linux-binary-"))?;
            let version = version.strip_suffix(flavour)?;
            // `linux-image-cloud-amd64` is no kernel, it names one; a `-rc` or real-time one is none of these.
            let plain = version.starts_with(|first: char| first.is_ascii_digit()) && !version.contains("rc");
            (plain && !version.ends_with("-rt") && self.includes(version)).then(|| version.to_owned())
        };
        let version = names.lines().filter_map(version).max_by(|a, b| compare(a, b))?;
        let has = |package: &String| names.lines().any(|name| name == package);
        // Since 6.19 in several packages.
        let parts = ["binary", "modules", "base"].map(|part| format!("linux-{part}-{version}{flavour}"));
        let packages = if has(&parts[0]) {
            parts.into_iter().filter(has).collect::<Vec<_>>()
        } else {
            vec![format!("linux-image-{version}{flavour}")]
        };
        let packages = packages.into_iter().map(|package| package + suffix).collect();
        Some(Packaged { version, packages })
    }
}

/// By the numbers in it: 6.12.9 is older than 6.12.107.
fn compare(a: &str, b: &str) -> Ordering {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
    };
    numbers(a).cmp(&numbers(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &str = "linux-image-cloud-amd64\nlinux-image-5.10.0-9-cloud-amd64\nlinux-image-5.10.0-32-cloud-amd64\n\
        linux-image-5.10.0-32-amd64\nlinux-image-6.1.0-50-cloud-amd64\nlinux-image-6.12.107+deb13-cloud-amd64\n\
        linux-image-6.12.9+deb13-cloud-amd64\nlinux-image-6.12.107+deb13-cloud-amd64-unsigned\n\
        linux-image-6.12.200+deb13-rt-amd64\nlinux-binary-7.3.4+deb13-cloud-amd64\nlinux-modules-7.3.4+deb13-cloud-amd64\n\
        linux-image-7.3.4+deb13-cloud-amd64\nlinux-base-7.3.4+deb13-cloud-amd64\nlinux-image-7.4~rc1-cloud-amd64\n\
        linux-image-6.12.9+deb13-cloud-arm64\nlinux-image-6.12.117+deb12-cloud-arm64";

    #[test]
    fn names_are_read_and_shown_alike() {
        let text = "5.10,6.1, 6.12,newest";
        let all = list(text).unwrap();
        assert_eq!(all, [Series::of(5, 10), Series::of(6, 1), Series::of(6, 12), Series::NEWEST]);
        assert_eq!(all.iter().map(Series::to_string).collect::<Vec<_>>().join(","), "5.10,6.1,6.12,newest");
        assert_eq!(list("6.12,arm64-6.12").unwrap()[1].to_string(), "arm64-6.12", "not the same as 6.12");
        for wrong in ["", "arm64", "arm64-", "arm-6.1", "6", "6.", "new", "6.1,,5.10", "6.1,6.1", "6.1.3"] {
            assert!(list(wrong).is_err(), "{wrong:?} was taken");
        }
    }

    #[test]
    fn the_newest_package_of_a_series_is_chosen() {
        let version = |series: Series| series.choose(NAMES).map(|packaged| packaged.version);
        assert_eq!(version(Series::of(5, 10)).as_deref(), Some("5.10.0-32"));
        assert_eq!(version(Series::of(6, 1)).as_deref(), Some("6.1.0-50"), "6.1 is not 6.12");
        assert_eq!(version(Series::of(6, 12)).as_deref(), Some("6.12.107+deb13"));
        assert_eq!(version(Series::NEWEST).as_deref(), Some("7.3.4+deb13"));
        assert_eq!(version(Series::of(4, 19)), None);
    }

    #[test]
    fn a_kernel_in_several_packages_is_taken_from_all_of_them() {
        let packages = |series: Series| series.choose(NAMES).unwrap().packages;
        assert_eq!(packages(Series::of(6, 1)), ["linux-image-6.1.0-50-cloud-amd64"]);
        let parts = ["binary", "modules", "base"].map(|part| format!("linux-{part}-7.3.4+deb13-cloud-amd64"));
        assert_eq!(packages(Series::NEWEST), parts);
        let arm64 = "arm64-6.12".parse().unwrap();
        assert_eq!(packages(arm64), ["linux-image-6.12.117+deb12-cloud-arm64:arm64"]);
    }
}
