//! A simulated machine: its containers, its disk, its power. Knows nothing of lain.
//!
//! What was begun goes on whether or not the agent that asked for it still lives, as with a real engine; a machine
//! that loses its power forgets what ran and keeps what exists.

use super::chance::Chance;
use super::clock::SimClock;
use super::truth::{Ground, Why};
use crate::domain::id::{ContainerId, InstanceId, NodeName};
use crate::ports::agent::{Assignment, Desired};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It was made, or its start is under way.
    Starting,
    /// It runs.
    Running,
    /// It was told to stop.
    Stopping,
    /// It has ended, with this code.
    Exited(i32),
}

/// One container.
#[derive(Debug, Clone)]
pub struct Container {
    /// Which instance.
    pub instance: InstanceId,
    /// It must not run twice.
    pub exclusive: bool,
    /// The engine's id.
    pub id: ContainerId,
    /// Where it is in its life.
    pub life: Life,
    /// What is due before this changed is void.
    epoch: u64,
}

/// How the machine behaves.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// How long a start takes at least and at most, in milliseconds.
    pub start: (u64, u64),
    /// How long an end takes at least and at most, in milliseconds.
    pub stop: (u64, u64),
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            start: (20, 120),
            stop: (5, 150),
        }
    }
}

/// See the module.
pub struct Machine {
    /// Its name, which is its node's.
    pub name: NodeName,
    /// Its clocks.
    pub clock: Arc<SimClock>,
    /// The truth that it reports to.
    pub ground: Ground,
    /// Told of each change of a container.
    pub changed: Notify,
    inner: RefCell<Inner>,
}

struct Inner {
    containers: BTreeMap<String, Container>,
    disk: BTreeMap<String, Desired>,
    habits: Habits,
    chance: Chance,
    made: u64,
    epochs: u64,
}

impl Machine {
    /// A machine with power and nothing on it.
    pub fn new(name: NodeName, clock: Arc<SimClock>, ground: Ground, chance: Chance) -> Rc<Self> {
        Rc::new(Self {
            name,
            clock,
            ground,
            changed: Notify::new(),
            inner: RefCell::new(Inner {
                containers: BTreeMap::new(),
                disk: BTreeMap::new(),
                habits: Habits::default(),
                chance,
                made: 0,
                epochs: 0,
            }),
        })
    }

    /// Changes how it behaves.
    pub fn set_habits(&self, habits: Habits) {
        self.inner.borrow_mut().habits = habits;
    }

    /// A container.
    pub fn get(&self, name: &str) -> Option<Container> {
        self.inner.borrow().containers.get(name).cloned()
    }

    /// All containers, by name.
    pub fn all(&self) -> Vec<(String, Container)> {
        let inner = self.inner.borrow();
        let all = inner.containers.iter();
        all.map(|(n, c)| (n.clone(), c.clone())).collect()
    }

    /// What its agent wrote to its disk.
    pub fn disk(&self) -> Vec<Desired> {
        self.inner.borrow().disk.values().cloned().collect()
    }

    /// Writes or removes what the agent keeps of a container.
    pub fn keep(&self, name: &str, desired: Option<&Desired>) {
        let disk = &mut self.inner.borrow_mut().disk;
        match desired {
            Some(desired) => disk.insert(name.to_owned(), desired.clone()),
            None => disk.remove(name),
        };
    }

    /// Chance of this machine's own.
    pub fn factor(&self, from: f64, to: f64) -> f64 {
        self.inner.borrow_mut().chance.factor(from, to)
    }

    /// Makes a container where it is missing, starts it where it does not run, and waits until it runs. `false`
    /// where it ran already.
    pub async fn start(self: &Rc<Self>, name: &str, assignment: &Assignment) -> bool {
        let begun = {
            let mut inner = self.inner.borrow_mut();
            let inner = &mut *inner;
            inner.made += 1;
            let id = format!("{}-{}", self.name, inner.made);
            let container = match inner.containers.entry(name.to_owned()) {
                std::collections::btree_map::Entry::Occupied(found) => found.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => {
                    let Ok(id) = ContainerId::new(id) else {
                        return false;
                    };
                    place.insert(Container {
                        instance: assignment.instance.clone(),
                        exclusive: assignment.exclusive,
                        id,
                        life: Life::Exited(0),
                        epoch: 0,
                    })
                }
            };
            match container.life {
                Life::Running => return false,
                Life::Starting | Life::Stopping => None,
                Life::Exited(_) => {
                    inner.epochs += 1;
                    (container.life, container.epoch) = (Life::Starting, inner.epochs);
                    let (least, most) = inner.habits.start;
                    Some((inner.epochs, inner.chance.millis(least, most)))
                }
            }
        };
        if let Some((epoch, takes)) = begun {
            self.later(name, epoch, takes, |machine, name| machine.runs(name));
        }
        self.until(name, |life| {
            !matches!(life, Life::Starting | Life::Stopping)
        })
        .await;
        true
    }

    /// Stops a container and waits until it has ended; `at_once` kills it.
    pub async fn stop(self: &Rc<Self>, name: &str, at_once: bool, why: Why) {
        let begun = {
            let mut inner = self.inner.borrow_mut();
            let inner = &mut *inner;
            let Some(container) = inner.containers.get_mut(name) else {
                return;
            };
            match container.life {
                Life::Exited(_) => return,
                Life::Stopping if !at_once => None,
                Life::Starting | Life::Running | Life::Stopping => {
                    inner.epochs += 1;
                    let runs = container.life != Life::Starting;
                    (container.life, container.epoch) = (Life::Stopping, inner.epochs);
                    let (least, most) = inner.habits.stop;
                    let takes = match at_once || !runs {
                        true => Duration::from_millis(2),
                        false => inner.chance.millis(least, most),
                    };
                    Some((inner.epochs, takes, runs))
                }
            }
        };
        if let Some((epoch, takes, ran)) = begun {
            self.later(name, epoch, takes, move |machine, name| {
                machine.ends(name, 143, ran.then_some(why));
            });
        }
        self.until(name, |life| matches!(life, Life::Exited(_)))
            .await;
    }

    /// Ends a container, if it runs, and forgets it.
    pub fn remove(&self, name: &str, why: Why) {
        let ran = self
            .get(name)
            .is_some_and(|c| matches!(c.life, Life::Running | Life::Stopping));
        self.ends(name, 137, ran.then_some(why));
        self.inner.borrow_mut().containers.remove(name);
        self.changed.notify_waiters();
    }

    /// Ends a running container by a fault; `false` where it does not run.
    pub fn crash(&self, name: &str) -> bool {
        let Some(container) = self.get(name).filter(|c| c.life == Life::Running) else {
            return false;
        };
        self.ground.with(|truth| truth.crash(&container.instance));
        self.ends(name, 1, Some(Why::Fault));
        true
    }

    /// Cuts the power, or gives it back.
    pub fn set_power(&self, on: bool) {
        self.ground.note(format!(
            "{}: power {}",
            self.name,
            if on { "on" } else { "off" }
        ));
        if on {
            return;
        }
        for (name, container) in self.all() {
            let ran = matches!(container.life, Life::Running | Life::Stopping);
            self.ends(&name, 137, ran.then_some(Why::Fault));
        }
    }

    fn later(
        self: &Rc<Self>,
        name: &str,
        epoch: u64,
        takes: Duration,
        then: impl FnOnce(&Self, &str) + 'static,
    ) {
        let (machine, name) = (Rc::clone(self), name.to_owned());
        actix_rt::spawn(async move {
            tokio::time::sleep(takes).await;
            if machine.get(&name).is_some_and(|c| c.epoch == epoch) {
                then(&machine, &name);
            }
        });
    }

    async fn until(&self, name: &str, wanted: impl Fn(Life) -> bool) {
        loop {
            let changed = self.changed.notified();
            if self.get(name).is_none_or(|c| wanted(c.life)) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until a container has ended or is gone.
    pub async fn ended(&self, name: &str) -> Option<i32> {
        self.until(name, |life| matches!(life, Life::Exited(_)))
            .await;
        match self.get(name)?.life {
            Life::Exited(code) => Some(code),
            Life::Starting | Life::Running | Life::Stopping => None,
        }
    }

    fn runs(&self, name: &str) {
        let Some(container) = self.change(name, Life::Running) else {
            return;
        };
        let (instance, once) = (&container.instance, container.exclusive);
        self.ground
            .with(|truth| truth.started(&self.name, name, instance, once));
    }

    /// It has ended; `why` where it ran.
    fn ends(&self, name: &str, code: i32, why: Option<Why>) {
        let Some(container) = self.change(name, Life::Exited(code)) else {
            return;
        };
        if let Some(why) = why {
            self.ground
                .with(|truth| truth.ended(&self.name, name, &container.instance, why));
        }
    }

    fn change(&self, name: &str, life: Life) -> Option<Container> {
        let changed = {
            let mut inner = self.inner.borrow_mut();
            inner.epochs += 1;
            let epoch = inner.epochs;
            let container = inner.containers.get_mut(name)?;
            (container.life, container.epoch) = (life, epoch);
            container.clone()
        };
        self.changed.notify_waiters();
        Some(changed)
    }
}
