//! The text format of Prometheus, read back.

/// One line of a page of metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name, such as `monitor_syscalls_total`.
    pub name: String,
    /// Labels in the order of the page.
    pub labels: Vec<(String, String)>,
    /// Value.
    pub value: f64,
}

impl Sample {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn matches(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.name == name && labels.iter().all(|(key, value)| self.label(key) == Some(value))
    }
}

/// A page of metrics.
#[derive(Clone, Debug, Default)]
pub struct Samples(pub Vec<Sample>);

impl Samples {
    /// Reads a page.
    ///
    /// # Panics
    /// With the line that is not as the format demands.
    pub fn parse(page: &str) -> Self {
        let samples = page.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(samples.map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line}"))).collect())
    }

    /// Every sample with this name and these labels, others allowed.
    pub fn all<'a>(&'a self, name: &'a str, labels: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| sample.matches(name, labels))
    }

    /// The sum over every sample with this name and these labels; a series that is not there counts 0.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.all(name, labels).map(|sample| sample.value).sum()
    }

    /// The value of the one sample with this name and these labels.
    ///
    /// # Panics
    /// When there are more.
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found: Vec<_> = self.all(name, labels).collect();
        assert!(found.len() <= 1, "{name}{labels:?} is not one series but {}", found.len());
        found.first().map(|sample| sample.value)
    }
}

fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((key.to_owned(), value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = match rest.split_whitespace().next()? {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The text up to the closing quotation mark, and what comes after that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read() {
        let page =
            "# HELP a b\n# TYPE a counter\na 1\nb{x=\"y\",z=\"p\\\"q\\\\r\\n}\"} 2.5\nc_bucket{le=\"+Inf\"} +Inf\n";
        let samples = Samples::parse(page);
        assert_eq!(samples.find("a", &[]), Some(1.0));
        assert_eq!(samples.0[1].label("z"), Some("p\"q\\r\n}"));
        assert_eq!(samples.sum("b", &[("x", "y")]), 2.5);
        assert_eq!(samples.0[2].value, f64::INFINITY);
        assert_eq!(samples.find("d", &[]), None);
    }
}
