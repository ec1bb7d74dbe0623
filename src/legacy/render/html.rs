//! The answer as a small page that a person can read.
//!
//! Everything goes through the element writer, so everything is escaped; there is no script, no
//! style and nothing that a browser would load.

use super::markup::Markup;
use super::{Answer, Candidates, End, Sheet};

pub(super) fn render(answer: &Answer<'_>) -> Vec<u8> {
    let heading = match &answer.end {
        End::Done { .. } | End::Found(_) => "OK",
        End::Failed { .. } => "Error",
    };
    let mut html = Markup::html();
    html.element("html", &[("lang", "en")], |html| {
        html.element("head", &[], |html| {
            html.empty("meta", &[("charset", "utf-8")]);
            html.text("title", &[], heading);
        });
        html.element("body", &[], |html| {
            html.text("h1", &[], heading);
            if let End::Failed { message, .. } = &answer.end {
                html.text("p", &[], message);
            }
            html.element("table", &[], |html| {
                row(html, "Code", &answer.code.to_string());
                row(html, "Action", answer.echo);
                for (name, value) in answer.facts() {
                    row(html, name, &value);
                }
                if let End::Found(Sheet { record: Some(record), .. }) = &answer.end {
                    for (name, value) in &record.fields {
                        row(html, name, value);
                    }
                }
            });
            if let End::Failed { candidates: Some(found), .. } = &answer.end
                && answer.detail
            {
                candidates(html, found);
            }
        });
    });
    html.finish()
}

fn row(html: &mut Markup, name: &str, value: &str) {
    html.element("tr", &[], |html| {
        html.text("th", &[("scope", "row")], name);
        html.text("td", &[], value);
    });
}

fn candidates(html: &mut Markup, found: &Candidates) {
    html.text("h2", &[], found.heading);
    for facts in &found.rows {
        html.element("table", &[], |html| {
            for (name, value) in facts {
                row(html, name, value);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::tests::{ambiguous, body, refused, several_participants};

    #[test]
    fn a_plain_error_is_a_page_with_message_code_and_action() {
        assert_eq!(
            body(&refused(), Format::Html, false),
            "<!DOCTYPE html>\n\
             <html lang=\"en\">\n\
             <head>\n\
             <meta charset=\"utf-8\"/>\n\
             <title>Error</title>\n\
             </head>\n\
             <body>\n\
             <h1>Error</h1>\n\
             <p>Call cannot be found.</p>\n\
             <table>\n\
             <tr>\n\
             <th scope=\"row\">Code</th>\n\
             <td>2</td>\n\
             </tr>\n\
             <tr>\n\
             <th scope=\"row\">Action</th>\n\
             <td>DeleteCall</td>\n\
             </tr>\n\
             </table>\n\
             </body>\n\
             </html>\n"
        );
    }

    #[test]
    fn detail_lists_the_facts_and_the_candidates_escaped() {
        let page = body(&ambiguous(), Format::Html, true);
        assert!(page.contains("<th scope=\"row\">Reason</th>\n<td>ambiguous</td>"), "{page}");
        assert!(page.contains("<td>Rec&quot;&lt;1&gt;</td>"), "{page}");
        assert_eq!(page.matches("<table>").count(), 3);
        let page = body(&several_participants(), Format::Html, true);
        assert!(page.contains("<h2>Participants that match</h2>"), "{page}");
        assert!(page.contains("<td>p&quot;&lt;2&gt;</td>"), "{page}");
    }
}
