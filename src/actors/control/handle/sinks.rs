//! The sinks and inputs of this host's log pipeline, as the API sees them.

use super::{Handle, not_found};
use crate::domain::log::Stamp;
use crate::domain::view::{InputView, SinkView};
use crate::logging::pipe::{Command, To};
use crate::ports::control::{Caller, ControlError, SinkAction};
use std::time::Duration;

/// How long a sink may take to answer an operator.
const MOST: Duration = Duration::from_secs(20);

impl Handle {
    /// All sinks; none where logging is switched off.
    pub(super) fn list_sinks(&self) -> Vec<SinkView> {
        self.shared
            .pipeline()
            .map(|p| p.views())
            .unwrap_or_default()
    }

    /// All inputs; none where logging is switched off.
    pub(super) fn list_inputs(&self) -> Vec<InputView> {
        self.shared
            .pipeline()
            .map(|p| p.input_views())
            .unwrap_or_default()
    }

    /// Does what an operator asks, with audit.
    pub(super) async fn act_on(
        &self,
        name: &str,
        action: SinkAction,
        caller: &Caller,
    ) -> Result<SinkView, ControlError> {
        let word = match action {
            SinkAction::Test => "test_sink",
            SinkAction::Pause => "pause_sink",
            SinkAction::Resume => "resume_sink",
            SinkAction::Rewind(_) | SinkAction::Skip => "rewind_sink",
        };
        let outcome = self.command_sink(name, action).await;
        self.audit(caller, word, name, String::new(), outcome)
    }

    async fn command_sink(&self, name: &str, action: SinkAction) -> Result<SinkView, ControlError> {
        let views = self.list_sinks();
        let names = views.iter().map(|view| view.name.clone());
        let missing = not_found("sink", name, names);
        let Some((pipeline, sink)) = self
            .shared
            .pipeline()
            .and_then(|p| p.sink(name).map(|s| (p, s)))
        else {
            return Err(missing);
        };
        let answer = match action {
            SinkAction::Pause => {
                sink.command(Command::Pause);
                sink.cell
                    .change(|view| "paused".clone_into(&mut view.state));
                Ok(())
            }
            SinkAction::Resume => {
                sink.command(Command::Resume);
                Ok(())
            }
            SinkAction::Test => sink.ask(Command::Check, MOST).await,
            SinkAction::Rewind(to) => {
                let to = to.map_or(To::Oldest, |at| To::At(Stamp::from(at)));
                sink.ask(move |answer| Command::Rewind(to, answer), MOST)
                    .await
            }
            SinkAction::Skip => {
                sink.ask(move |answer| Command::Rewind(To::Now, answer), MOST)
                    .await
            }
        };
        answer.map_err(|reason| ControlError::Conflict(format!("sink {name}: {reason}")))?;
        Ok(sink.cell.view(&pipeline.figures()))
    }
}
