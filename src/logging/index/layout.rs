//! How an event lies in a partition: which tantivy field holds what, and the words of its texts.
//!
//! What an instance says of itself with every line (app, image, labels …) is one *context*, kept once in
//! the partition's dictionary; an event holds its number. Numbers lie in columns only, strings also in a
//! term dictionary, texts as words with positions. The event as it came is rebuilt from `source`, the
//! context and the columns.

use crate::logging::query::words;
use tantivy::schema::{
    Field, IndexRecordOption, JsonObjectOptions, NumericOptions, Schema, TextFieldIndexing,
    TextOptions,
};
use tantivy::tokenizer::{TextAnalyzer, Token, TokenStream, Tokenizer, TokenizerManager};

/// Keys whose values make the context: few values, repeated by every event of an instance.
pub const CONTEXT: [&str; 14] = [
    "app",
    "container_created_at",
    "container_id",
    "container_name",
    "host",
    "image",
    "instance",
    "label",
    "level",
    "node",
    "proc",
    "revision",
    "source_type",
    "stream",
];

/// Whether a field lies in the context.
pub fn in_context(name: &str) -> bool {
    let top = name.split('.').next().unwrap_or(name);
    CONTEXT.binary_search(&top).is_ok()
}

/// Name of the tokenizer of texts.
const WORDS: &str = "words";

/// The fields of a partition's index.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Its schema.
    pub schema: Schema,
    /// The words of `message`.
    pub message: Field,
    /// When: nanoseconds since 1970.
    pub at: Field,
    /// The order of arrival.
    pub order: Field,
    /// The first half of the event's id.
    pub id: Field,
    /// `seq`.
    pub seq: Field,
    /// The number of the context.
    pub context: Field,
    /// Strings and booleans by path.
    pub keys: Field,
    /// Numbers and times by path.
    pub numbers: Field,
    /// The words of other texts by path.
    pub texts: Field,
    /// Names of the other texts that an event has, and `!message` where it has none.
    pub flags: Field,
    /// What is needed to rebuild the event.
    pub source: Field,
}

/// The flag of an event without a `message`.
pub const NO_MESSAGE: &str = "!message";

/// The column of [`Layout::at`].
pub const AT: &str = "at";
/// The column of [`Layout::order`].
pub const ORDER: &str = "order";
/// The column of [`Layout::id`].
pub const ID: &str = "id";
/// The column of [`Layout::seq`].
pub const SEQ: &str = "seq";
/// The column of [`Layout::context`].
pub const CTX: &str = "ctx";

impl Layout {
    /// The layout of every partition.
    pub fn new() -> Self {
        let mut schema = Schema::builder();
        let words = TextFieldIndexing::default()
            .set_tokenizer(WORDS)
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let raw = TextFieldIndexing::default()
            .set_tokenizer("raw")
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::Basic);
        let column = NumericOptions::default().set_fast();
        let message = schema.add_text_field(
            "message",
            TextOptions::default().set_indexing_options(words.clone()),
        );
        let at = schema.add_i64_field(AT, column.clone());
        let order = schema.add_u64_field(ORDER, column.clone());
        let id = schema.add_u64_field(ID, column.clone());
        let seq = schema.add_u64_field(SEQ, column.clone());
        let context = schema.add_u64_field(CTX, column.clone());
        let json = JsonObjectOptions::default().set_expand_dots_enabled();
        let keys = schema.add_json_field(
            "k",
            json.clone()
                .set_fast("raw")
                .set_indexing_options(raw.clone()),
        );
        let numbers = schema.add_json_field("n", json.clone().set_fast("raw"));
        let texts = schema.add_json_field("t", json.set_indexing_options(words));
        let flags =
            schema.add_text_field("flags", TextOptions::default().set_indexing_options(raw));
        let source = schema.add_bytes_field("source", tantivy::schema::STORED);
        Self {
            schema: schema.build(),
            message,
            at,
            order,
            id,
            seq,
            context,
            keys,
            numbers,
            texts,
            flags,
            source,
        }
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self::new()
    }
}

/// The tokenizers that the schema names.
pub fn tokenizers() -> TokenizerManager {
    let manager = TokenizerManager::default();
    manager.register(WORDS, TextAnalyzer::from(Words::default()));
    manager
}

/// [`words`] as tantivy's tokenizer.
#[derive(Debug, Clone, Default)]
struct Words {
    places: Vec<(usize, usize)>,
    token: Token,
}

struct WordStream<'a> {
    text: &'a str,
    places: std::slice::Iter<'a, (usize, usize)>,
    token: &'a mut Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        self.places.clear();
        words::words(text, |from, to| self.places.push((from, to)));
        self.token.reset();
        WordStream {
            text,
            places: self.places.iter(),
            token: &mut self.token,
        }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let Some((from, to)) = self.places.next() else {
            return false;
        };
        self.token.offset_from = *from;
        self.token.offset_to = *to;
        self.token.position = self.token.position.wrapping_add(1);
        self.token.text.clear();
        words::lower_into(&self.text[*from..*to], &mut self.token.text);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}
