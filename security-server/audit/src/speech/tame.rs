//! Text from containers, made harmless for terminals and pages.

/// Text that comes from a file and must not act: control characters (terminal commands, forged lines) and characters that turn the
/// direction of writing or take no room are replaced, and what is longer than 400 characters is cut.
pub fn tame(text: &str) -> String {
    let mut tamed: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if is_wild(c) { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        tamed.push('…');
    }
    tamed
}

fn is_wild(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Longest text that is shown, in characters.
const LONGEST: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_a_terminal() {
        assert_eq!(tame("Банк «Ак-Жол» ңөү"), "Банк «Ак-Жол» ңөү");
        assert_eq!(
            tame("a\u{1b}[2Jb\r\nVERDICT: VALID\u{9b}31m\u{7f}"),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}VERDICT: VALID\u{fffd}31m\u{fffd}"
        );
        assert_eq!(
            tame("\u{202e}DILAV\u{2066}\u{200b}"),
            "\u{fffd}DILAV\u{fffd}\u{fffd}"
        );
        assert_eq!(tame(&"я".repeat(500)).chars().count(), LONGEST + 1);
    }
}
