//! The question for people who do not see the picture: digits in words, some of them as small sums. A program that is made for it reads words, as one
//! made for it reads pictures; what both keep from guessing is the number of questions, and these are counted alike.

use super::draw::Dice;
use base::{Lang, Result};

/// Digits of an answer.
pub const LENGTH: usize = 7;

const DIGITS: [(&str, &str); 10] = [
    ("zero", "零"),
    ("one", "一"),
    ("two", "二"),
    ("three", "三"),
    ("four", "四"),
    ("five", "五"),
    ("six", "六"),
    ("seven", "七"),
    ("eight", "八"),
    ("nine", "九"),
];

/// A new question and its answer.
pub fn ask(lang: Lang) -> Result<(String, String)> {
    let mut dice = Dice::new()?;
    let mut roll = |below: usize| usize::from(dice.roll()) % below;
    let (mut parts, mut answer) = (Vec::new(), String::new());
    for _ in 0..LENGTH {
        let digit = roll(10);
        answer.push_str(&digit.to_string());
        // As it is, as the sum of two, or as what is left of one.
        let (first, sign, second) = match roll(3) {
            0 => (digit, None, 0),
            1 => {
                let part = roll(digit + 1);
                (part, Some((" plus ", "加")), digit - part)
            }
            _ => {
                let more = roll(10 - digit);
                (digit + more, Some((" minus ", "减")), more)
            }
        };
        let word = |(en, zh): (&'static str, &'static str)| if lang == Lang::Zh { zh } else { en };
        let mut part = word(DIGITS[first]).to_string();
        if let Some(sign) = sign {
            part = [&part, word(sign), word(DIGITS[second])].concat();
        }
        parts.push(part);
    }
    let text = match lang {
        Lang::Zh => format!("请依次输入这 {LENGTH} 个数字：{}。", parts.join("、")),
        Lang::En => format!("Type these {LENGTH} digits one after another: {}.", parts.join(", ")),
    };
    Ok((text, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a question as its hearer would.
    fn solved(text: &str, lang: Lang) -> String {
        let (_, list) = text.split_once(if lang == Lang::Zh { '：' } else { ':' }).expect("a list");
        let list = list.trim_end_matches(['.', '。']);
        let (between, plus, minus) = if lang == Lang::Zh { ("、", "加", "减") } else { (", ", " plus ", " minus ") };
        let value = |word: &str| DIGITS.iter().position(|(en, zh)| [*en, *zh].contains(&word.trim())).unwrap_or_else(|| panic!("{word}"));
        let digit = |part: &str| match (part.split_once(plus), part.split_once(minus)) {
            (Some((a, b)), _) => value(a) + value(b),
            (_, Some((a, b))) => value(a) - value(b),
            _ => value(part),
        };
        list.split(between).map(|part| digit(part).to_string()).collect()
    }

    #[test]
    fn said_in_both_languages_and_never_the_same_twice() {
        let mut answers = std::collections::HashSet::new();
        for n in 0..200 {
            let lang = if n % 2 == 0 { Lang::En } else { Lang::Zh };
            let (text, answer) = ask(lang).expect("a question");
            assert_eq!(solved(&text, lang), answer, "{text}");
            assert!(answer.len() == LENGTH && !text.contains(&answer), "{text}");
            assert_eq!(lang == Lang::Zh, !text.chars().any(|c| c.is_ascii_alphabetic()), "{text}");
            answers.insert(answer);
        }
        assert!(answers.len() > 190, "{}", answers.len());
        // Ten to the seventh against twenty-three to the fifth.
        assert!(10u64.pow(LENGTH as u32) > 23u64.pow(super::super::draw::LENGTH as u32));
    }
}
