//! The supervision trees of lain. Folders are supervisors, files are their children.
//!
//! ```text
//! root                                   rest_for_one
//! ├── store                              worker        recorder.rs
//! ├── nodes                              one_for_one
//! │   └── node/<name>                    rest_for_one  agent/
//! │       ├── engine                     worker        agent/engine.rs
//! │       ├── containers                 one_for_one   dynamic
//! │       │   └── container/<container>  rest_for_one  agent/container.rs
//! │       │       ├── process            worker        agent/process.rs   the container
//! │       │       ├── health             worker        agent/health.rs
//! │       │       └── logs               worker        agent/logs.rs
//! │       └── logging                    one_for_one   agent/logging/
//! │           ├── spool                  worker        agent/logging/spool.rs
//! │           ├── events                 worker        agent/logging/events.rs
//! │           ├── sink/<name>            worker        agent/logging/sink.rs
//! │           └── input/<name>           worker        agent/logging/input.rs
//! ├── apps                               one_for_one   dynamic
//! │   └── app/<name>                     one_for_one   control/app.rs
//! │       ├── rollout                    worker        control/rollout.rs
//! │       └── proc/<type>.<name>         one_for_one   dynamic
//! │           └── instance/<no>          worker        control/instance.rs
//! ├── logging                            one_for_one   logging/   where there is a log index
//! │   ├── index                          worker        logging/index.rs
//! │   └── rebuild                        worker        logging/rebuild.rs
//! ├── time                               worker        control/schedule.rs  cron procs
//! └── web                                worker        the API, made by the role
//! ```

pub mod agent;
pub mod control;
pub mod host_ports;
pub mod hub;
pub mod logging;
pub mod no_web;
pub mod node_table;
pub mod recorder;
pub mod root;
pub mod shared;
pub mod supervise;
