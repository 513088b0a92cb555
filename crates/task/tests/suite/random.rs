//! Random tasks: bodies of every shape the flow allows, made from a number, and what must be true of each when it has ended.

use crate::kit::{self, Env};
use base::{Json, Result, err};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeSet;
use store::{Cond, Db, Read, Tx};
use task::{Flow, NewTask, Phase, Step, StepKey, Task, TaskRow, state};

/// Numbers that look random (xorshift).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Op {
    /// Puts a box.
    Mark,
    /// Puts a thing into the warehouse.
    Deliver,
    /// Puts a box and waits until it was checked.
    Wait,
    /// Its error is swallowed.
    Attempt(Vec<Op>),
    All(Vec<Vec<Op>>),
    Sub(Vec<Op>),
    Commit,
    Fail,
}

pub fn ops(dice: &mut Dice, depth: u64) -> Vec<Op> {
    let count = 1 + dice.roll(4);
    (0..count)
        .map(|_| match dice.roll(if depth == 0 { 8 } else { 12 }) {
            0..=2 => Op::Mark,
            3..=4 => Op::Deliver,
            5..=6 => Op::Wait,
            7 if dice.roll(3) == 0 => Op::Fail,
            7 if dice.roll(4) == 0 => Op::Commit,
            7 => Op::Mark,
            8..=9 => Op::Attempt(ops(dice, depth - 1)),
            10 => Op::All((0..2 + dice.roll(2)).map(|_| ops(dice, depth - 1)).collect()),
            _ => Op::Sub(ops(dice, depth - 1)),
        })
        .collect()
}

/// Whether a body of these fails by itself: nothing swallows the error on its way up.
pub fn fails(ops: &[Op]) -> bool {
    ops.iter().any(|op| match op {
        Op::Fail => true,
        Op::All(branches) => branches.iter().any(|ops| fails(ops)),
        Op::Sub(inner) => fails(inner),
        Op::Mark | Op::Deliver | Op::Wait | Op::Attempt(_) | Op::Commit => false,
    })
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Random {
    pub ops: Vec<Op>,
}

impl Task<Env> for Random {
    const NAME: &'static str = "RandomTask";

    async fn run(&self, flow: &Flow<Env>) -> Result<Json> {
        go(flow.clone(), &self.ops).await?;
        Ok(Json::from("done"))
    }
}

/// Boxes are called after the task and the step that puts them.
struct Mark;

impl Step<Env> for Mark {
    const NAME: &'static str = "mark";
    type Out = String;

    async fn act(&self, env: &Env, tx: &mut Tx, key: &StepKey) -> Result<String> {
        kit::Place { carton: key.to_string(), shelf: "s1".to_string() }.act(env, tx, key).await
    }
    async fn undo(&self, _: &Env, tx: &mut Tx, _: &StepKey, out: &String) -> Result<()> {
        match tx.delete("boxes", Cond::eq("id", out.as_str())).await? {
            1 => Ok(()),
            n => Err(err!(Conflict, "{} boxes were called {}", n, out)),
        }
    }
}

/// A wait of its own name, since a body has several.
struct Checked(String);

impl task::Wait<Env> for Checked {
    const NAME: &'static str = "checked";
    type Out = String;

    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(Self::NAME)
    }
    fn watches(&self) -> Vec<(String, String)> {
        vec![("box".to_string(), self.0.clone())]
    }
    async fn poll(&self, env: &Env, tx: &mut Tx) -> Result<task::Polled<String>> {
        kit::Until { carton: self.0.clone(), status: "checked", deadline: None, every: kit::USUAL }.poll(env, tx).await
    }
}

fn go<'a>(flow: Flow<Env>, ops: &'a [Op]) -> BoxFuture<'a, Result<()>> {
    Box::pin(async move {
        for (i, op) in ops.iter().enumerate() {
            let here = flow.named(&i.to_string());
            match op {
                Op::Mark => drop(here.step(Mark).await?),
                Op::Deliver => drop(here.call(kit::Deliver { what: "thing".to_string() }).await?),
                Op::Wait => {
                    let carton = here.step(Mark).await?;
                    here.wait(Checked(carton)).await?;
                }
                Op::Attempt(inner) => match here.attempt("try", |flow| go(flow, inner)).await {
                    Ok(()) => {}
                    Err(e) if e.template() == "as told" => {}
                    Err(e) => return Err(e),
                },
                Op::All(branches) => {
                    here.all(branches.iter().enumerate().map(|(n, ops)| go(here.named(&format!("way {n}")), ops))).await?;
                }
                Op::Sub(inner) => drop(here.sub("child", NewTask::of(&Random { ops: inner.clone() })).await?),
                Op::Commit => here.commit_point().await?,
                Op::Fail => return Err(err!(Conflict, "as told")),
            }
        }
        Ok(())
    })
}

/// Compares what is there with what the journals say, and a failed task with nothing.
///
/// # Panics
/// When they differ.
pub async fn audit(db: &Db, env: &Env, what: &str) {
    task::testing::sound(db, what).await;
    let boxes: BTreeSet<String> = (&mut &*db).texts("boxes", "id", Cond::True).await.unwrap().into_iter().collect();
    let things: BTreeSet<String> = env.things().into_keys().map(|k| k.replace('/', "_")).collect();
    let (mut want_boxes, mut want_things) = (BTreeSet::new(), BTreeSet::new());
    for row in (&mut &*db).list::<TaskRow>(Cond::True).await.unwrap() {
        let id = &row.facts.id;
        let steps = task::history(&mut &*db, id).await.unwrap();
        let undone: BTreeSet<&str> =
            steps.iter().filter(|s| s.phase == Phase::Undo.name() && s.state == state::DONE).map(|s| s.name.as_str()).collect();
        let mut left = 0;
        for step in steps.iter().filter(|s| s.phase == Phase::Act.name() && s.state == state::DONE && !undone.contains(s.name.as_str())) {
            let key = format!("{id}/{}", step.name);
            if step.name.ends_with("/mark") {
                want_boxes.insert(key);
                left += 1;
            } else if step.name.ends_with("/deliver") {
                want_things.insert(key.replace('/', "_"));
                left += 1;
            }
        }
        assert!(row.succeeded() || row.facts.committed || left == 0, "{what}: {id} failed and left {left} things: {steps:#?}");
        assert!(!row.succeeded() || row.facts.result == "done", "{what}: {row:?}");
    }
    compare(what, "box", &boxes, &want_boxes);
    compare(what, "thing", &things, &want_things);
}

fn compare(what: &str, kind: &str, there: &BTreeSet<String>, journaled: &BTreeSet<String>) {
    let (more, less): (Vec<_>, Vec<_>) = (there.difference(journaled).collect(), journaled.difference(there).collect());
    assert!(more.is_empty() && less.is_empty(), "{what}: {kind} in no journal: {more:?}; {kind} that is gone: {less:?}");
}
