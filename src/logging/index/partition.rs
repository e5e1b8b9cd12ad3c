//! One day of the index: its tantivy index, its dictionary, and who writes to it.

use super::dictionary::Dictionary;
use super::encode::{Encoder, Key, context_fields};
use super::layout::{AT, ID, Layout, ORDER, tokenizers};
use crate::logging::query::{FieldType, Fields};
use crate::ports::log_index::IndexEvent;
use chrono::NaiveDate;
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use tantivy::directory::MmapDirectory;
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::store::Compressor;
use tantivy::{
    Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, Searcher, TantivyError,
};

/// The dictionary's file.
const DICTIONARY: &str = "dictionary";
/// The folder of tantivy's files.
const SEGMENTS: &str = "segments";
/// Bytes of sources that are compressed together: 64 KiB is as far as lz4 looks back.
const BLOCK: usize = 64 * 1024;
/// Ids that are known without a look into the index.
const RECENT: usize = 1 << 18;
/// Segments with more events are merged no more.
const FULL: usize = 2_000_000;

/// Why a partition cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// The disk's.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// tantivy's.
    #[error(transparent)]
    Tantivy(#[from] TantivyError),
}

impl PartitionError {
    /// Whether the disk is full.
    pub fn is_full_disk(&self) -> bool {
        let full = |e: &io::Error| e.kind() == io::ErrorKind::StorageFull;
        match self {
            Self::Io(error) => full(error),
            Self::Tantivy(TantivyError::IoError(error)) => full(error),
            // tantivy wraps what its threads met into texts.
            Self::Tantivy(error) => error.to_string().contains("No space left"),
        }
    }
}

/// One day.
pub struct Partition {
    /// Which (UTC).
    pub day: NaiveDate,
    /// Its folder; none in memory.
    pub folder: Option<PathBuf>,
    /// Where things lie.
    pub layout: Arc<Layout>,
    index: Index,
    reader: IndexReader,
    dictionary: RwLock<Dictionary>,
}

impl Partition {
    /// One in memory.
    ///
    /// # Errors
    /// tantivy's.
    pub fn in_memory(day: NaiveDate, layout: &Arc<Layout>) -> Result<Self, PartitionError> {
        let builder = Index::builder()
            .schema(layout.schema.clone())
            .settings(settings());
        let index = builder.tokenizers(tokenizers()).create_in_ram()?;
        Self::over(day, None, layout, index, Dictionary::in_memory())
    }

    /// Opens or makes the partition in `folder`.
    ///
    /// # Errors
    /// It is damaged, or the disk's.
    pub fn open(
        day: NaiveDate,
        folder: &Path,
        layout: &Arc<Layout>,
    ) -> Result<Self, PartitionError> {
        let segments = folder.join(SEGMENTS);
        std::fs::create_dir_all(&segments)?;
        let dictionary = Dictionary::open(&folder.join(DICTIONARY))?;
        let directory = MmapDirectory::open(&segments).map_err(TantivyError::from)?;
        let builder = Index::builder()
            .schema(layout.schema.clone())
            .settings(settings());
        let mut index = builder.open_or_create(directory)?;
        // The entries of what was just made must survive too.
        std::fs::File::open(folder)?.sync_all()?;
        index.set_tokenizers(tokenizers());
        Self::over(day, Some(folder.to_owned()), layout, index, dictionary)
    }

    fn over(
        day: NaiveDate,
        folder: Option<PathBuf>,
        layout: &Arc<Layout>,
        index: Index,
        dictionary: Dictionary,
    ) -> Result<Self, PartitionError> {
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?;
        let partition = Self {
            day,
            folder,
            layout: Arc::clone(layout),
            index,
            reader,
            dictionary: RwLock::new(dictionary),
        };
        // Opens each segment's columns, so that damage shows now and not at the first query.
        partition.last()?;
        Ok(partition)
    }

    /// The committed events.
    pub fn searcher(&self) -> Searcher {
        self.reader.searcher()
    }

    /// Contexts and fields.
    pub fn dictionary(&self) -> RwLockReadGuard<'_, Dictionary> {
        self.dictionary
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The fields of its events that are not `typed`.
    pub fn fields(&self, typed: &Fields) -> Fields {
        let dictionary = self.dictionary();
        let mut fields = dictionary.fields.clone();
        context_fields(dictionary.contexts(), typed, &mut fields);
        fields
    }

    /// Events.
    pub fn events(&self) -> u64 {
        self.searcher().num_docs()
    }

    /// The greatest time and order, if there is an event.
    fn last(&self) -> Result<Option<(i64, u64)>, TantivyError> {
        let mut last = None;
        for reader in self.searcher().segment_readers() {
            let at = reader.fast_fields().i64(AT)?.max_value();
            let order = reader.fast_fields().u64(ORDER)?.max_value();
            let (a, o) = last.unwrap_or((at, order));
            last = Some((at.max(a), order.max(o)));
        }
        Ok(last)
    }

    /// Reads every file against its checksum.
    ///
    /// # Errors
    /// Which files are damaged.
    pub fn verify(&self) -> Result<(), String> {
        match self.index.validate_checksum() {
            Ok(damaged) if damaged.is_empty() => Ok(()),
            Ok(damaged) => {
                let names: Vec<String> = damaged
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect();
                Err(format!("damaged files: {}", names.join(", ")))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.folder.as_deref().map_or(0, folder_bytes)
    }
}

fn settings() -> IndexSettings {
    IndexSettings {
        docstore_compression: Compressor::Lz4,
        docstore_blocksize: BLOCK,
        docstore_compress_dedicated_thread: false,
        ..IndexSettings::default()
    }
}

fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => folder_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        // Removed by a merge meanwhile.
        Err(_) => 0,
    });
    sizes.sum()
}

/// Which events are known.
struct Known {
    /// All events from this time on are in `recent`.
    from: i64,
    recent: BTreeSet<(i64, u64)>,
}

/// Writes to one partition; there is only one for each.
pub struct Writing {
    partition: Arc<Partition>,
    writer: IndexWriter,
    next_order: u64,
    known: Known,
    dirty: bool,
}

impl Writing {
    /// Begins to write, with `memory` bytes for events that are not yet on disk.
    ///
    /// # Errors
    /// tantivy's.
    pub fn begin(partition: &Arc<Partition>, memory: usize) -> Result<Self, PartitionError> {
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(memory)
            .build();
        let writer = partition.index.writer_with_options(options)?;
        let mut policy = LogMergePolicy::default();
        policy.set_max_docs_before_merge(FULL);
        policy.set_min_num_segments(8);
        writer.set_merge_policy(Box::new(policy));
        let last = partition.last()?;
        Ok(Self {
            partition: Arc::clone(partition),
            writer,
            next_order: last.map_or(0, |(_, order)| order + 1),
            known: Known {
                from: last.map_or(i64::MIN, |(at, _)| at.saturating_add(1)),
                recent: BTreeSet::new(),
            },
            dirty: false,
        })
    }

    /// Which of these older events are in the index.
    fn look_up(&self, keys: &HashSet<(i64, u64)>) -> Result<HashSet<(i64, u64)>, TantivyError> {
        let mut found = HashSet::new();
        let times = || keys.iter().map(|(at, _)| *at);
        let (Some(low), Some(high)) = (times().min(), times().max()) else {
            return Ok(found);
        };
        let mut docs = Vec::new();
        for reader in self.partition.searcher().segment_readers() {
            let at = reader.fast_fields().i64(AT)?;
            if at.max_value() < low || at.min_value() > high {
                continue;
            }
            let id = reader.fast_fields().u64(ID)?;
            docs.clear();
            let range = low.max(at.min_value())..=high.min(at.max_value());
            at.get_docids_for_value_range(range, 0..reader.max_doc(), &mut docs);
            for doc in &docs {
                if let (Some(at), Some(id)) = (at.first(*doc), id.first(*doc))
                    && keys.contains(&(at, id))
                {
                    found.insert((at, id));
                }
            }
        }
        Ok(found)
    }

    /// Adds events; the number of those that were there. They are found and durable after [`Self::commit`].
    ///
    /// # Errors
    /// tantivy's; then this is of no more use.
    pub fn add(
        &mut self,
        events: &[(&IndexEvent, Key)],
        typed: &Fields,
        refused: &mut Vec<(String, String)>,
    ) -> Result<usize, PartitionError> {
        let old = events
            .iter()
            .map(|(_, key)| (key.at, key.id))
            .filter(|(at, _)| *at < self.known.from);
        let stored = self.look_up(&old.collect())?;
        let mut dictionary = self
            .partition
            .dictionary
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let mut encoder = Encoder::new(&self.partition.layout, typed);
        let mut duplicates = 0;
        for (event, key) in events {
            let known = (key.at, key.id);
            if stored.contains(&known) || self.known.recent.contains(&known) {
                duplicates += 1;
                continue;
            }
            match encoder.document(event, *key, self.next_order, &mut dictionary) {
                Ok(document) => {
                    self.writer.add_document(document)?;
                    if super::encode::halves(&event.id).1.is_none() {
                        dictionary.field("event_id", FieldType::Keyword);
                    }
                    self.known.recent.insert(known);
                    self.next_order += 1;
                    self.dirty = true;
                }
                Err(reason) => refused.push((event.id.clone(), reason)),
            }
        }
        Ok(duplicates)
    }

    /// Makes durable what was added: first the dictionary, then the events that refer to it.
    ///
    /// # Errors
    /// The disk's or tantivy's; then this is of no more use.
    pub fn commit(&mut self) -> Result<(), PartitionError> {
        if !self.dirty {
            return Ok(());
        }
        self.partition
            .dictionary
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .sync()?;
        self.writer.commit()?;
        self.partition.reader.reload()?;
        self.dirty = false;
        while self.known.recent.len() > RECENT {
            if let Some((at, _)) = self.known.recent.pop_first() {
                self.known.from = self.known.from.max(at.saturating_add(1));
            }
        }
        Ok(())
    }

    /// Waits for merges and closes.
    ///
    /// # Errors
    /// tantivy's.
    pub fn close(self) -> Result<(), PartitionError> {
        self.writer.wait_merging_threads()?;
        self.partition.reader.reload()?;
        Ok(())
    }
}
