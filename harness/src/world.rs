//! The world outside of the process: it stays when the process dies.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use goldsmith::controller::Failure;
use goldsmith_simulator::engine::Simulator;
use goldsmith_simulator::tcp;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::api_server::{Answer, ApiServer, Kind, Request};
use crate::history::Step;
use crate::judge::{Ec2, Judge, Wrong};
use crate::people::{self, People};
use crate::plan::{Fault, Plan};
use crate::process::{Keys, Member};
use crate::story::{self, Story};
use crate::strike::{self, InForce};
use crate::turnstile::Turnstile;

/// What EC2's durations are multiplied by: a build takes minutes of simulated time, and thereby some hundred requests.
const LATENCY_SCALE: f64 = 0.05;

/// Between the death of a process and the start of the next.
const RESTART: SignedDuration = SignedDuration::from_millis(200);
/// The same, where nobody is there for long: longer than any instance may work.
const AWAY: SignedDuration = SignedDuration::from_hours(3);

/// What a process takes to stop, at most: less than passes are given that do not end.
const STOPS: SignedDuration = SignedDuration::from_secs(4);
/// How long a process is held up: the Lease has run out by then, and the next is in the middle of its work.
const HELD_UP: SignedDuration = SignedDuration::from_secs(25);

/// A run that asks more than this goes round in circles: an hour of rest takes some 3,000 requests.
const MOST_REQUESTS: usize = 20_000;

/// When every story begins.
pub const BEGAN: Timestamp = Timestamp::constant(1_795_435_200, 0);

/// Kubernetes, EC2 and the time of day, and what is asked of them.
#[derive(Debug)]
pub struct World {
    pub simulator: tcp::Shared,
    time: Mutex<Time>,
    state: Mutex<State>,
    died: Notify,
    frozen: Notify,
    thawed: Notify,
    doubled: Notify,
    stopped: Notify,
}

#[derive(Debug)]
struct Time {
    /// When the process was started, or has died.
    since: Timestamp,
    /// The same moment by tokio's clock, while a process runs.
    began: Option<Instant>,
}

/// What changes with the requests.
#[derive(Debug)]
pub struct State {
    pub api: ApiServer,
    pub history: Vec<Step>,
    pub judge: Judge,
    pub people: People,
    /// The plan's.
    pub story: &'static Story,
    /// What was wrong with what was seen between the first request and the last.
    pub wrong: Vec<Wrong>,
    faults: Vec<(Fault, usize)>,
    /// When a process that is frozen goes on, if not once the world is at rest.
    pub wakes: Option<Timestamp>,
    /// For how long nobody is there once the process has died.
    pub pause: SignedDuration,
    /// Those of the next process.
    pub keys: Keys,
    /// Whether people restart the process as the next request comes.
    pub restarts: bool,
    /// What of the faults lasts beyond the requests that they strike.
    pub in_force: InForce,
    requests: usize,
    /// When something was last changed, or the story began.
    pub active: Timestamp,
}

impl State {
    /// Whether a process may end by itself under what goes wrong.
    pub fn ends_processes(&self) -> bool {
        self.faults.iter().any(|(fault, _)| fault.ends_processes())
    }

    /// Whether AWS will answer as it would have earlier.
    pub fn answers_older(&self) -> bool {
        let mut faults = self.faults.iter().map(|(fault, _)| fault);
        faults.any(|fault| [Fault::OlderByOne, Fault::OlderByThree].contains(fault))
    }

    /// A process that was asked to stop has ended.
    pub fn judge_stop(&mut self, ended: &Result<(), Failure>, member: Member, took: SignedDuration) {
        let mut wrong = |why: String| {
            self.wrong
                .push(format!("asked to stop, {} {why}", member.identity).into())
        };
        if let Err(failure) = ended {
            wrong(format!("fails: {failure:?}"));
        }
        if took > STOPS {
            wrong(format!("takes {took:#}, {STOPS:#} at most"));
        }
        let mut leases = self.api.objects(Kind::Lease);
        if leases.any(|lease| lease["spec"]["holderIdentity"] == member.identity) {
            wrong("keeps its Lease: the next one has to wait".to_owned());
        }
        self.judge.has_stopped();
    }
}

/// The answer does not come.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the connection was closed before a response came")]
pub struct Lost;

impl World {
    /// An empty cluster and the seeded account, in which `plan` will be carried out.
    ///
    /// # Errors
    /// When there is no such story.
    pub fn new(plan: &Plan) -> Result<Arc<Self>, String> {
        let story = story::named(&plan.story)?;
        let now = BEGAN;
        Ok(Arc::new(Self {
            simulator: Arc::new(Mutex::new(Simulator::new(plan.seed, LATENCY_SCALE))),
            time: Mutex::new(Time {
                since: now,
                began: None,
            }),
            state: Mutex::new(State {
                api: ApiServer::new(now),
                history: Vec::new(),
                judge: Judge::default(),
                people: People::default(),
                story,
                wrong: Vec::new(),
                faults: plan.faults.clone(),
                wakes: None,
                pause: RESTART,
                keys: Keys::First,
                restarts: false,
                in_force: InForce::default(),
                requests: 0,
                active: now,
            }),
            died: Notify::new(),
            frozen: Notify::new(),
            thawed: Notify::new(),
            doubled: Notify::new(),
            stopped: Notify::new(),
        }))
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        let time = lock(&self.time);
        let passed = time.began.map(|began| began.elapsed()).unwrap_or_default();
        time.since + SignedDuration::try_from(passed).unwrap_or_default()
    }

    /// A process begins; from now on time goes by its runtime's clock.
    pub fn begin(&self) {
        lock(&self.time).began = Some(Instant::now());
    }

    /// It has ended; a pause goes by before the next one.
    pub fn end(&self) {
        let now = self.now();
        let pause = std::mem::replace(&mut self.state().pause, RESTART);
        if pause == AWAY {
            let mut simulator = tcp::lock(&self.simulator);
            simulator.advance(now + pause);
            let mut state = self.state();
            let left = state.judge.at_work(&Ec2::of(&simulator));
            state.wrong.extend(left.into_iter().map(Wrong::from));
            // It has not been at rest meanwhile: nobody was there.
            state.active = now + pause;
        }
        *lock(&self.time) = Time {
            since: now + pause,
            began: None,
        };
    }

    /// Ends once the process has died.
    pub async fn died(&self) {
        self.died.notified().await;
    }

    /// Ends once the process is frozen, until [`World::thaw`].
    pub async fn frozen(&self) {
        self.frozen.notified().await;
    }

    /// The frozen process goes on with the request in hand.
    pub fn thaw(&self, member: Member, held_up: SignedDuration) {
        let now = self.now();
        self.is_not_at_rest();
        self.state().judge.unaware(member, now, held_up);
        self.thawed.notify_one();
    }

    /// Until the next [`World::begin`] no time goes by.
    pub fn stop_the_clock(&self) {
        let now = self.now();
        *lock(&self.time) = Time {
            since: now,
            began: None,
        };
    }

    /// Ends once a second process is to begin.
    pub async fn doubled(&self) {
        self.doubled.notified().await;
    }

    /// Ends once the process is asked to stop.
    pub async fn stopped(&self) {
        self.stopped.notified().await;
    }

    /// When the story began.
    pub fn began(&self) -> Timestamp {
        BEGAN
    }

    /// Creates an object as a user does.
    ///
    /// # Errors
    /// What the API server says if it does not take it.
    pub fn apply(&self, object: &Value) -> Result<(), String> {
        let mut state = self.state();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let request = Request {
            method: "POST".into(),
            path: format!("/apis/goldsmith.dev/v1alpha1/namespaces/{namespace}/imagerecipes"),
            query: String::new(),
            accept: String::new(),
            content_type: "application/json".into(),
            body: object.to_string().into_bytes(),
        };
        match state.api.handle(self.now(), &request) {
            Answer::Value(201, _) => Ok(()),
            answer => Err(format!("the API server refuses {object}: {answer:?}")),
        }
    }

    /// Everything but EC2.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Has the judge look at what request `number` has done.
    pub fn judge<W: Into<Wrong>>(&self, number: usize, look: impl FnOnce(&mut Judge, &ApiServer, &Ec2<'_>) -> Vec<W>) {
        let now = self.now();
        let simulator = tcp::lock(&self.simulator);
        let State { api, judge, wrong, .. } = &mut *self.state();
        let ec2 = Ec2::of(&simulator);
        judge.learn(api, &ec2, now);
        let found = look(judge, api, &ec2);
        wrong.extend(found.into_iter().map(|wrong| Wrong {
            request: Some(number),
            ..wrong.into()
        }));
    }

    /// Puts a request to the world: in its turn, and under the fault that strikes it. `answer` carries it out and says, in the step,
    /// what came of it.
    pub async fn ask<T: 'static>(
        &self,
        turnstile: &Turnstile,
        what: Vec<u8>,
        mut step: Step,
        answer: impl FnOnce(&Self, &mut Step) -> T + Send + 'static,
    ) -> Result<T, Lost> {
        turnstile.pass(what).await;
        step.time = self.now();
        {
            let mut state = self.state();
            state.requests += 1;
            step.number = state.requests;
            if state.requests == MOST_REQUESTS {
                let wrong = format!("after {MOST_REQUESTS} requests it is not at rest");
                state.wrong.push(wrong.into());
            }
            let State { api, judge, .. } = &mut *state;
            judge.learn_of_objects(api, step.time);
            step.fault = state
                .faults
                .iter()
                .find(|(_, request)| *request == step.number)
                .map(|(fault, _)| *fault);
        }
        strike::before_people(self, &step);
        loop {
            let due = self.state().in_force.due(step.time);
            let Some(happens) = due else { break };
            happens(self);
            step.people = true;
        }
        match step.fault {
            _ if self.is_exhausted() || std::mem::take(&mut self.state().restarts) => {
                step.fault = None;
                self.state().history.push(step);
                return self.die().await;
            }
            Some(fault @ (Fault::DiesBefore | Fault::KeyRotated)) => {
                if fault == Fault::KeyRotated {
                    self.state().keys = Keys::Both;
                }
                self.state().history.push(step);
                return self.die().await;
            }
            Some(Fault::ArrivesLate) => {
                let (number, now) = (step.number, step.time);
                self.state().history.push(step.clone());
                let arrives = move |world: &Self| {
                    step.time = world.now();
                    drop(world.late(&mut step, answer));
                    world.record(step);
                };
                self.state().in_force.arrives_late(number, now, Box::new(arrives));
                return self.die().await;
            }
            _ => {}
        }
        let fault = step.fault;
        let answer = match fault {
            Some(Fault::Frozen | Fault::HeldUp) => {
                self.state().wakes = (fault == Some(Fault::HeldUp)).then(|| step.time + HELD_UP);
                self.frozen.notify_one();
                self.thawed.notified().await;
                step.time = self.now();
                self.late(&mut step, answer)
            }
            _ => answer(self, &mut step),
        };
        match fault {
            Some(Fault::Away) => self.state().pause = AWAY,
            Some(Fault::SecondLeader) => self.doubled.notify_one(),
            Some(Fault::Stopped) => {
                self.state().judge.stops();
                self.stopped.notify_one();
            }
            _ => {}
        }
        if let Some(fault) = fault {
            strike::after(self, &step, fault);
        }
        self.record(step);
        match fault {
            Some(fault) if fault.kills() => self.die().await,
            Some(Fault::AnswerLost) => Err(Lost),
            _ => Ok(answer),
        }
    }

    /// Carries a request out that was sent when it was right: that its build has ended meanwhile, or goes another way, it could not
    /// know.
    fn late<T>(&self, step: &mut Step, answer: impl FnOnce(&Self, &mut Step) -> T) -> T {
        let judged = self.state().wrong.len();
        let answer = answer(self, step);
        let mut state = self.state();
        let of_it = state.wrong.split_off(judged);
        state.wrong.extend(of_it.into_iter().filter(|wrong| !wrong.is_outdated));
        answer
    }

    fn record(&self, step: Step) {
        if step.is_activity() {
            self.state().active = step.time;
        }
        people::react(self, &step);
        self.state().history.push(step);
    }

    /// Has `happens` happen so long after the story began.
    pub fn at(&self, after: SignedDuration, happens: impl FnOnce(&Self) + Send + 'static) {
        self.state().in_force.at(BEGAN + after, Box::new(happens));
    }

    /// Somebody does something now: the world is at rest no sooner than after that.
    pub fn is_not_at_rest(&self) {
        let now = self.now();
        self.state().active = now;
    }

    /// People restart the process, with those keys.
    pub fn restart(&self, keys: Keys) {
        self.is_not_at_rest();
        let mut state = self.state();
        state.keys = keys;
        state.restarts = true;
    }

    /// Whether more was asked than in any run that ends.
    pub fn is_exhausted(&self) -> bool {
        self.state().requests >= MOST_REQUESTS
    }

    async fn die<T>(&self) -> T {
        self.died.notify_one();
        std::future::pending().await
    }
}

/// What a panicking thread leaves here is whole enough to be shown.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
