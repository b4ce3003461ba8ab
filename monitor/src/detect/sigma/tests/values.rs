//! Values and their modifiers.

use super::{entry, one, rule, selection, told};

#[test]
fn text_is_compared_without_regard_to_case() {
    assert_eq!(entry("Image: /Usr/Bin/X"), "tolower(proc.exepath) = /usr/bin/x");
    assert_eq!(entry("Image|contains: Xy"), "proc.exepath icontains Xy");
    assert_eq!(entry("Image|startswith: /Tmp"), "tolower(proc.exepath) startswith /tmp");
    assert_eq!(entry("Image|endswith: '/Nc'"), "tolower(proc.exepath) endswith /nc");
}

#[test]
fn cased_is_compared_as_it_is() {
    assert_eq!(entry("Image|cased: /X"), "proc.exepath = /X");
    assert_eq!(entry("Image|contains|cased: X"), "proc.exepath contains X");
    assert_eq!(entry("Image|endswith|cased: X"), "proc.exepath endswith X");
    assert_eq!(entry("Image|cased: 'a*B?c'"), "proc.exepath glob a*B?c");
}

#[test]
fn several_values_are_alternatives_unless_all_is_asked() {
    assert_eq!(
        entry("Image: [/a, /B, /c*]"),
        "(tolower(proc.exepath) in (/a, /b) or tolower(proc.exepath) startswith /c)"
    );
    assert_eq!(entry("CommandLine|contains|all: [a, b]"), "proc.exeline icontains a and proc.exeline icontains b");
    assert_eq!(entry("CommandLine|all|contains: [a, b]"), "proc.exeline icontains a and proc.exeline icontains b");
}

#[test]
fn wildcards_match_and_may_be_escaped() {
    assert_eq!(entry("Image: '*/x'"), "tolower(proc.exepath) endswith /x");
    assert_eq!(entry("Image: '/x*'"), "tolower(proc.exepath) startswith /x");
    assert_eq!(entry("Image: '*x*'"), "proc.exepath icontains x");
    assert_eq!(entry("Image: '/a*/b?[c]'"), "proc.exepath iglob /a*/b?\\[c\\]");
    assert_eq!(entry("Image|contains: 'a*b'"), "proc.exepath iglob *a*b*");
    assert_eq!(entry("Image|endswith: 'a*b'"), "proc.exepath iglob *a*b");
    assert_eq!(entry("Image: '*'"), "proc.exepath exists");
    assert_eq!(entry(r"Image: 'a\*b'"), "tolower(proc.exepath) = a*b");
    assert_eq!(entry(r"Image: 'a\\*b'"), r"proc.exepath iglob a\\*b");
    assert_eq!(entry(r"CommandLine|contains: 'c:\win'"), r"proc.exeline icontains c:\win");
}

#[test]
fn nothing_and_something() {
    let missing = "(not proc.cwd exists or proc.cwd = \"\")";
    assert_eq!(entry("CurrentDirectory: null"), missing);
    assert_eq!(entry("CurrentDirectory: ''"), missing);
    assert_eq!(entry("CurrentDirectory|exists: true"), "proc.cwd exists");
    assert_eq!(entry("CurrentDirectory|exists: false"), "not proc.cwd exists");
    assert_eq!(entry("CurrentDirectory|contains: ''"), "proc.cwd exists");
}

#[test]
fn regular_expressions_are_found_anywhere() {
    assert_eq!(entry("Image|re: '^/a.b$'"), "proc.exepath regex \"(?s:.*)(?:^/a.b$)(?s:.*)\"");
    assert_eq!(entry("Image|re|i: 'x|y'"), "proc.exepath regex \"(?s:.*)(?i:x|y)(?s:.*)\"");
    assert_eq!(entry("Image|re|i|m|s: 'x'"), "proc.exepath regex \"(?s:.*)(?ims:x)(?s:.*)\"");
    assert_eq!(entry(r"CommandLine|re: '\d\*'"), "proc.exeline regex \"(?s:.*)(?:\\\\d\\\\*)(?s:.*)\"");
}

#[test]
fn encodings_are_looked_for_encoded() {
    assert_eq!(entry("CommandLine|base64|contains: 'foobar'"), "proc.exeline icontains Zm9vYmFy");
    assert_eq!(entry("CommandLine|base64|contains: 'fo'"), "proc.exeline icontains \"Zm8=\"");
    // The examples of the specification.
    assert_eq!(
        entry("CommandLine|base64offset|contains: '/bin/bash'"),
        "(proc.exeline icontains L2Jpbi9iYXNo or proc.exeline icontains 9iaW4vYmFza or proc.exeline icontains vYmluL2Jhc2)"
    );
    assert_eq!(entry("CommandLine|wide|base64|contains: 'ab'"), "proc.exeline icontains \"YQBiAA==\"");
    assert_eq!(
        entry("CommandLine|windash|contains: ' -f x-y'"),
        "(proc.exeline icontains \" -f x-y\" or proc.exeline icontains \" /f x-y\" or proc.exeline icontains \" –f x-y\" \
         or proc.exeline icontains \" —f x-y\" or proc.exeline icontains \" ―f x-y\")"
    );
}

#[test]
fn numbers_are_compared_as_numbers() {
    assert_eq!(entry("ProcessId: [1, '2']"), "proc.pid in (1, 2)");
    assert_eq!(entry("ParentProcessId|gte: 10"), "proc.ppid >= 10");
    assert_eq!(entry("LogonId|lt: 5"), "user.loginuid < 5");
    assert_eq!(entry("ProcessId|neq: 1"), "not proc.pid = 1");
    assert_eq!(entry("CommandLine|contains: 8080"), "proc.exeline icontains 8080");
}

#[test]
fn fields_are_compared_with_fields() {
    assert_eq!(entry("Image|fieldref: ParentImage"), "tolower(proc.exepath) = tolower(proc.pexepath)");
    assert_eq!(entry("CommandLine|fieldref|contains: Image"), "tolower(proc.exeline) contains tolower(proc.exepath)");
    assert_eq!(entry("ProcessId|fieldref: ParentProcessId"), "proc.pid = val(proc.ppid)");
}

#[test]
fn addresses_are_compared_as_addresses_and_networks() {
    let network = |entry: &str| {
        let loaded = one(&rule("network_connection", &format!("    s:\n        {entry}\n    condition: s\n")));
        assert_eq!(told(&loaded), Vec::<String>::new());
        let text = loaded.rules[0].condition.to_string();
        text.split_once("(ipv4, ipv6) and ").expect("the events").1.to_owned()
    };
    assert_eq!(network("DestinationIp: [1.2.3.4, '::1']"), "fd.sip in (1.2.3.4, ::1)");
    assert_eq!(
        network("DestinationIp|cidr: [10.0.0.0/8, 'fc00::/7']"),
        "(fd.snet in (10.0.0.0/8) or fd.snet in (fc00::/7))"
    );
    assert_eq!(network("SourceIp|startswith: '192.168.'"), "fd.cnet in (192.168.0.0/16)");
    assert_eq!(network("DestinationIp: '10.*'"), "fd.snet in (10.0.0.0/8)");
    assert_eq!(network("Initiated: false"), "evt.type in (accept, accept4)");
    assert_eq!(network("DestinationHostname|endswith: .Onion"), "tolower(fd.sip.name) endswith .onion");
}

#[test]
fn words_are_looked_for_everywhere() {
    let anywhere = |word: &str| {
        format!("proc.exeline icontains {word} or proc.exepath icontains {word} or proc.pcmdline icontains {word}")
    };
    assert_eq!(
        selection("    s:\n        - xmrig\n        - 'min*er'\n    condition: s\n"),
        format!(
            "({} or proc.exeline iglob *min*er* or proc.exepath iglob *min*er* or proc.pcmdline iglob *min*er*)",
            anywhere("xmrig")
        )
    );
    assert_eq!(
        selection("    s:\n        '|all':\n            - a\n            - b\n    condition: s\n"),
        format!("({}) and ({})", anywhere("a"), anywhere("b"))
    );
}
