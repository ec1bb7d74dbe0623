//! The one writer of elements, for XML and HTML.
//!
//! It cannot forget to escape, and drops what XML 1.0 forbids, which no escaping makes legal. Every
//! element ends its line, so the documents are the same bytes everywhere.

use std::borrow::Cow;
use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

/// The attributes of an element.
pub(super) type Attributes<'a> = &'a [(&'a str, &'a str)];

/// A document that is being written.
pub(super) struct Markup(Writer<Vec<u8>>);

impl Markup {
    /// Begins an XML document.
    pub(super) fn xml() -> Self {
        let mut document = Self(Writer::new(Vec::new()));
        document.put(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
        document.end_line();
        document
    }

    /// Begins an HTML document.
    pub(super) fn html() -> Self {
        let mut document = Self(Writer::new(Vec::new()));
        document.put(Event::DocType(BytesText::from_escaped("html")));
        document.end_line();
        document
    }

    /// An element that holds others, each on its own line.
    pub(super) fn element(
        &mut self,
        name: &str,
        attributes: Attributes<'_>,
        content: impl FnOnce(&mut Self),
    ) {
        self.start(name, attributes);
        self.end_line();
        content(self);
        self.end(name);
    }

    /// An element that holds text, on one line.
    pub(super) fn text(&mut self, name: &str, attributes: Attributes<'_>, text: &str) {
        self.start(name, attributes);
        self.put(Event::Text(BytesText::new(&legal(text))));
        self.end(name);
    }

    /// An element that holds nothing.
    pub(super) fn empty(&mut self, name: &str, attributes: Attributes<'_>) {
        self.put(Event::Empty(tag(name, attributes)));
        self.end_line();
    }

    /// The document's bytes.
    pub(super) fn finish(self) -> Vec<u8> {
        self.0.into_inner()
    }

    fn start(&mut self, name: &str, attributes: Attributes<'_>) {
        self.put(Event::Start(tag(name, attributes)));
    }

    fn end(&mut self, name: &str) {
        self.put(Event::End(BytesEnd::new(name)));
        self.end_line();
    }

    fn end_line(&mut self) {
        self.put(Event::Text(BytesText::from_escaped("\n")));
    }

    fn put(&mut self, event: Event<'_>) {
        let written: io::Result<()> = self.0.write_event(event);
        written.expect("a Vec takes every write");
    }
}

/// quick-xml escapes markup characters in attributes, and line feeds and tabs, so that they
/// survive the normalisation of attribute values.
fn tag<'a>(name: &'a str, attributes: Attributes<'_>) -> BytesStart<'a> {
    let mut tag = BytesStart::new(name);
    for (name, value) in attributes {
        tag.push_attribute((*name, legal(value)));
    }
    tag
}

/// `text` without the characters that XML 1.0 forbids.
pub(in crate::legacy) fn legal(text: &str) -> Cow<'_, str> {
    let allowed = |c: char| match c {
        '\t' | '\n' | '\r' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        // Surrogates, the rest of what is forbidden, are no `char`.
        _ => c >= ' ',
    };
    if text.chars().all(allowed) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.chars().filter(|c| allowed(*c)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_escaping_makes_legal_is_dropped_and_the_rest_is_escaped() {
        let mut document = Markup::xml();
        document.text("a", &[("b", "<\"'&>\t\n\r\0\u{fffe}")], "<\"'&>\r\u{1b}\u{ffff}\u{10ffff}");
        document.empty("c", &[]);
        assert_eq!(
            String::from_utf8(document.finish()).unwrap(),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <a b=\"&lt;&quot;&apos;&amp;&gt;&#9;&#10;&#13;\">\
             &lt;&quot;&apos;&amp;&gt;&#13;\u{10ffff}</a>\n\
             <c/>\n"
        );
    }

    #[test]
    fn an_empty_text_does_not_close_its_element_by_itself() {
        let mut document = Markup::html();
        document.text("td", &[], "\0");
        assert_eq!(document.finish(), b"<!DOCTYPE html>\n<td></td>\n");
    }
}
