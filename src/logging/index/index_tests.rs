//! The index against the measure: what [`Plan::matches`] says of each event, over restarts, damage and
//! retention.
