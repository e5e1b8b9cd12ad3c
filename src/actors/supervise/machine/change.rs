//! New flags and specifications at run time (rule 13): OTP's code change.

use std::sync::Arc;

use super::calls::{CallError, Reply};
use super::ordered::Ordered;
use super::{Effect, Machine, Note, Payload};
use crate::actors::supervise::spec::{
    ChildSpec, FlagError, Flags, InitError, Strategy, check_init,
};

impl<P: Payload> Machine<P> {
    /// Replaces flags and specifications without touching a process.
    ///
    /// Known ids keep their process and state, new ones are added and not
    /// started, ids no longer listed are kept behind the listed ones. Switching
    /// to or from simple_one_for_one is refused, since ids would lose their meaning.
    pub(super) fn change(
        &mut self,
        flags: Flags,
        specs: Vec<ChildSpec<P::Start>>,
        out: &mut Vec<Effect<P>>,
    ) -> Result<Reply<P>, CallError> {
        check_init(&flags, &specs).map_err(CallError::Init)?;
        let was_simple = self.is_simple();
        if was_simple != (flags.strategy == Strategy::SimpleOneForOne) {
            let word = format!("{:?} instead of {:?}", flags.strategy, self.flags.strategy);
            return Err(CallError::Init(InitError::SupervisorData(
                FlagError::InvalidStrategy(word),
            )));
        }
        self.flags = flags;
        out.push(Effect::Flags(flags));
        if was_simple {
            self.change_template(specs, out);
        } else {
            self.change_children(specs, out);
        }
        Ok(Reply::Done)
    }

    fn change_template(&mut self, specs: Vec<ChildSpec<P::Start>>, out: &mut Vec<Effect<P>>) {
        let Some(template) = specs.into_iter().next().map(Arc::new) else {
            return;
        };
        let keys: Vec<_> = self.children.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(slot) = self.children.get_mut(key) {
                slot.spec = template.clone();
                out.push(Effect::Note(key, Note::Respecified(template.clone())));
            }
        }
        self.template = Some(template);
    }

    fn change_children(&mut self, specs: Vec<ChildSpec<P::Start>>, out: &mut Vec<Effect<P>>) {
        let mut order = Vec::with_capacity(self.children.len() + specs.len());
        for spec in specs.into_iter().map(Arc::new) {
            let known = self.ids.get(&spec.id).copied();
            match known.and_then(|key| Some((key, self.children.get_mut(key)?))) {
                Some((key, slot)) => {
                    slot.own_budget = match spec.budget {
                        Some(_) => slot.own_budget.take().or_else(|| Some(Box::default())),
                        None => None,
                    };
                    slot.spec = spec.clone();
                    out.push(Effect::Note(key, Note::Respecified(spec)));
                    order.push(key);
                }
                None => {
                    let key = self.insert(spec.clone(), None);
                    out.push(Effect::Note(key, Note::Added(spec)));
                    order.push(key);
                }
            }
        }
        self.children.reorder(&order);
        out.push(Effect::Reordered(
            self.children.iter().map(|(key, _)| key).collect(),
        ));
    }
}

impl<T> Ordered<T> {
    /// Puts `first` in front, in that order; the others follow as they were.
    fn reorder(&mut self, first: &[super::Key]) {
        let listed: std::collections::HashSet<_> = first.iter().copied().collect();
        let rest: Vec<_> = self
            .iter()
            .map(|(key, _)| key)
            .filter(|key| !listed.contains(key))
            .collect();
        self.relink(first.iter().copied().chain(rest));
    }
}
