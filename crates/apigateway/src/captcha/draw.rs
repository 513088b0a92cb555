//! Characters as a picture that people read and simple programs do not: strokes, each character turned, bent and pushed by chance, under lines of
//! the same kind. It keeps nobody out who is willing to pay; it makes guessing passwords slower than the throttles alone.

use crate::picture::png;
use base::{Error, Result};
use std::f32::consts::TAU;

pub const WIDTH: usize = 200;
pub const HEIGHT: usize = 64;
/// Characters of an answer.
pub const LENGTH: usize = 5;

/// Characters that are not taken for each other, as lines from point to point on a grid of 8 by 12: `xy` in hexadecimal, spaces between lines.
const STROKES: [(char, &str); 23] = [
    ('2', "02206082840c8c"),
    ('3', "00804565878a6c2c0a"),
    ('4', "6c600888"),
    ('5', "80000555878a6c2c0a"),
    ('7', "00803c"),
    ('8', "25030220608283652507 0a2c6c8a8765 070a"),
    ('A', "0c408c 1878"),
    ('C', "826020020a2c6c8a"),
    ('E', "80000c8c 0666"),
    ('F', "80000c 0666"),
    ('H', "000c 808c 0686"),
    ('J', "3080 606a4c2c0a"),
    ('K', "000c 8007 258c"),
    ('L', "000c8c"),
    ('M', "0c0046808c"),
    ('N', "0c008c80"),
    ('P', "0c006082846606"),
    ('R', "0c006082846606 368c"),
    ('T', "0080 404c"),
    ('U', "000a2c6c8a80"),
    ('W', "002c446c80"),
    ('X', "008c 800c"),
    ('Y', "004580 454c"),
];

type Point = (f32, f32);

/// Chance, as much as a picture needs.
pub struct Dice(Vec<u8>);

impl Dice {
    pub fn new() -> Result<Dice> {
        let mut bytes = vec![0; 4096];
        getrandom::fill(&mut bytes).map_err(Error::internal)?;
        Ok(Dice(bytes))
    }

    pub fn roll(&mut self) -> u16 {
        let mut next = || self.0.pop().unwrap_or_default();
        u16::from_le_bytes([next(), next()])
    }

    fn between(&mut self, least: f32, most: f32) -> f32 {
        least + (most - least) * f32::from(self.roll()) / f32::from(u16::MAX)
    }
}

/// A new answer.
pub fn answer() -> Result<String> {
    let mut dice = Dice::new()?;
    Ok((0..LENGTH).map(|_| STROKES[usize::from(dice.roll()) % STROKES.len()].0).collect())
}

/// The picture of an answer, another one each time.
pub fn of(answer: &str) -> Result<Vec<u8>> {
    let mut dice = Dice::new()?;
    let mut canvas = vec![0f32; WIDTH * HEIGHT];
    // The whole sheet is bent too.
    let wave = (dice.between(1.5, 3.5), dice.between(40.0, 70.0), dice.between(0.0, TAU));
    let sway = (dice.between(1.0, 3.0), dice.between(25.0, 45.0), dice.between(0.0, TAU));
    let bend = |(x, y): Point| (x + sway.0 * (y / sway.1 * TAU + sway.2).sin(), y + wave.0 * (x / wave.1 * TAU + wave.2).sin());
    let step = (WIDTH as f32 - 24.0) / LENGTH as f32;
    for (i, wanted) in answer.chars().enumerate() {
        let Some((_, strokes)) = STROKES.iter().find(|(c, _)| *c == wanted) else { continue };
        let (turn, lean) = (dice.between(-0.32, 0.32), dice.between(-0.25, 0.25));
        let (wide, high) = (dice.between(2.8, 3.4), dice.between(3.1, 3.7));
        let middle = (12.0 + step * (i as f32 + 0.5) + dice.between(-2.0, 2.0), HEIGHT as f32 / 2.0 + dice.between(-4.0, 4.0));
        let thick = dice.between(1.1, 1.7);
        let place = |(x, y): Point| {
            let (x, y) = ((x - 4.0) * wide + lean * (y - 6.0) * high, (y - 6.0) * high);
            (middle.0 + x * turn.cos() - y * turn.sin(), middle.1 + x * turn.sin() + y * turn.cos())
        };
        for stroke in strokes.split(' ') {
            let points: Vec<Point> = points(stroke).map(place).collect();
            points.windows(2).for_each(|ends| line(&mut canvas, ends[0], ends[1], thick, &bend));
        }
    }
    for _ in 0..2 {
        let (from, to) = (dice.between(8.0, HEIGHT as f32 - 8.0), dice.between(8.0, HEIGHT as f32 - 8.0));
        let (high, long, thick) = (dice.between(3.0, 9.0), dice.between(50.0, 110.0), dice.between(0.4, 0.8));
        let at = |x: f32| (x, from + (to - from) * x / WIDTH as f32 + high * (x / long * TAU).sin());
        (0..WIDTH).step_by(4).for_each(|x| line(&mut canvas, at(x as f32), at(x as f32 + 4.0), thick, &bend));
    }
    for _ in 0..150 {
        let (x, y) = (usize::from(dice.roll()) % WIDTH, usize::from(dice.roll()) % HEIGHT);
        canvas[y * WIDTH + x] = dice.between(0.3, 1.0);
    }
    let mut raw = Vec::with_capacity((WIDTH + 1) * HEIGHT);
    for row in canvas.chunks(WIDTH) {
        raw.push(0);
        raw.extend(row.iter().map(|ink| (255.0 - 225.0 * ink) as u8));
    }
    Ok(png(WIDTH, HEIGHT, 8, &raw))
}

fn points(stroke: &str) -> impl Iterator<Item = Point> {
    let digit = |b: u8| f32::from((b as char).to_digit(16).unwrap_or_default() as u8);
    stroke.as_bytes().chunks_exact(2).map(move |pair| (digit(pair[0]), digit(pair[1])))
}

/// A line in pieces, so that it can be bent; round at its ends.
fn line(canvas: &mut [f32], from: Point, to: Point, thick: f32, bend: &impl Fn(Point) -> Point) {
    const PIECES: u8 = 6;
    let at = |n: u8| {
        let part = f32::from(n) / f32::from(PIECES);
        bend((from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part))
    };
    for n in 0..PIECES {
        ink(canvas, at(n), at(n + 1), thick);
    }
}

fn ink(canvas: &mut [f32], a: Point, b: Point, thick: f32) {
    let reach = thick + 1.0;
    let bound = |least: f32, most: f32, size: usize| ((least - reach).max(0.0) as usize, ((most + reach).max(0.0) as usize + 1).min(size));
    let (left, right) = bound(a.0.min(b.0), a.0.max(b.0), WIDTH);
    let (top, bottom) = bound(a.1.min(b.1), a.1.max(b.1), HEIGHT);
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = (dx * dx + dy * dy).max(1e-6);
    for y in top..bottom {
        for x in left..right {
            let (px, py) = (x as f32 - a.0, y as f32 - a.1);
            let along = ((px * dx + py * dy) / length).clamp(0.0, 1.0);
            let (ox, oy) = (px - along * dx, py - along * dy);
            let cover = (thick + 0.5 - (ox * ox + oy * oy).sqrt()).clamp(0.0, 1.0);
            let pixel = &mut canvas[y * WIDTH + x];
            *pixel = pixel.max(cover);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shades of a picture, by the form this crate writes.
    fn shades(png: &[u8]) -> Vec<u8> {
        let at = png.windows(4).position(|w| w == b"IDAT").expect("pixels");
        let raw = &png[at + 4 + 2 + 5..][..(WIDTH + 1) * HEIGHT];
        raw.chunks(WIDTH + 1).flat_map(|line| line[1..].to_vec()).collect()
    }

    #[test]
    fn every_character_leaves_its_ink() {
        for (c, strokes) in STROKES {
            assert!(strokes.split(' ').all(|s| s.len() % 2 == 0 && s.len() >= 4), "{c}");
            let dark = |text: &str| shades(&of(text).expect("a picture")).iter().filter(|s| **s < 128).count();
            // Lines and dots are there without any character.
            assert!(dark(&c.to_string().repeat(LENGTH)) > dark("") + 200, "{c}");
        }
    }

    #[test]
    fn never_the_same_twice() {
        let (one, other) = (of("A2C4E").expect("a picture"), of("A2C4E").expect("a picture"));
        assert_ne!(one, other);
        let answers: std::collections::HashSet<String> = (0..50).map(|_| answer().expect("an answer")).collect();
        assert!(answers.len() > 45 && answers.iter().all(|a| a.len() == LENGTH));
    }
}
