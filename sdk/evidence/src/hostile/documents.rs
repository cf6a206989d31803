//! Documents that are none, or that cost more than they are worth.

use super::{MALFORMED, Workshop};

/// What is not XML, what XML must not have here, and what costs more than it is worth: told without a tree being built.
#[test]
fn hostile_documents_are_refused() {
    const NO_XML: &str = "invalid_xml";
    let shop = Workshop::new();
    let good = &shop.good;
    let declarations: String = (0..3000)
        .map(|number| format!("<a xmlns:n{number}=\"u{number}\">"))
        .collect();
    let attributes: String = (0..50_000)
        .map(|number| format!(" a{number}=\"\""))
        .collect();
    let long = "n".repeat(1 << 20);
    let inside = |text: &str| good.replace("</ds:Object>", &format!("{text}</ds:Object>"));
    let typed = |text: &str| good.replacen("<asic:XAdES", &format!("{text}<asic:XAdES"), 1);
    for (what, document, expected) in [
        ("no XML", "no XML".to_owned(), NO_XML),
        (
            "an end that is missing",
            good.replace("</asic:XAdESSignatures>", ""),
            NO_XML,
        ),
        ("two roots", format!("{good}<a/>"), NO_XML),
        ("a letter that XML does not have", inside("\u{1}"), NO_XML),
        ("a reference to one", inside("&#0;"), NO_XML),
        ("an entity that nobody declared", inside("&evil;"), NO_XML),
        ("a prefix that nobody declared", inside("<evil:a/>"), NO_XML),
        ("an attribute twice", inside("<a b='' b=''/>"), NO_XML),
        ("a DOCTYPE", typed("<!DOCTYPE x>"), MALFORMED),
        (
            "entities",
            typed("<!DOCTYPE x [<!ENTITY e \"e\">]>"),
            MALFORMED,
        ),
        (
            "entities of entities",
            typed(
                "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;&b;\">]>",
            ),
            MALFORMED,
        ),
        (
            "an entity from a file",
            typed("<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>"),
            MALFORMED,
        ),
        (
            "a DTD from elsewhere",
            typed("<!DOCTYPE x SYSTEM \"http://example.org/x.dtd\">"),
            MALFORMED,
        ),
        (
            "another encoding",
            good.replace("encoding=\"UTF-8\"", "encoding=\"UTF-16\""),
            NO_XML,
        ),
        ("elements without end", "<a>".repeat(200_000), MALFORMED),
        (
            "elements in elements",
            inside(&format!(
                "{}{}",
                "<a>".repeat(200_000),
                "</a>".repeat(200_000)
            )),
            MALFORMED,
        ),
        (
            "elements beside elements",
            inside(&"<a/>".repeat(300_000)),
            MALFORMED,
        ),
        ("namespaces in namespaces", declarations, MALFORMED),
        (
            "many namespaces",
            inside(&format!(
                "<a{}/>",
                attributes
                    .replace(" a", " xmlns:a")
                    .replace("\"\"", "\"u\"")
            )),
            MALFORMED,
        ),
        (
            "many attributes",
            inside(&format!("<a{attributes}/>")),
            MALFORMED,
        ),
        (
            "a name of a megabyte",
            inside(&format!("<{long}/>")),
            MALFORMED,
        ),
        (
            "an attribute's name of a megabyte",
            inside(&format!("<a {long}=''/>")),
            MALFORMED,
        ),
        (
            "an attribute of a megabyte",
            inside(&format!("<a b='{long}'/>")),
            MALFORMED,
        ),
        (
            "an instruction of a megabyte",
            inside(&format!("<?a {long}?>")),
            MALFORMED,
        ),
        (
            "a comment of a megabyte",
            inside(&format!("<!--{long}-->")),
            MALFORMED,
        ),
        (
            "more bytes than any signature has",
            inside(&" ".repeat(17 << 20)),
            MALFORMED,
        ),
    ] {
        shop.check(what, &document, expected, expected, &[]);
    }
}
