//! The top level of a `lain.yaml`, and the sections that are no procs.

use super::form::{
    ABSOLUTE, ANY_TEXT, APP_NAME, BUILD_ARG, COPY_PATH, IMAGE, KEPT_NAME, NO_BLANK, NON_EMPTY,
    PREPARE_VERSION, PROC_NAME,
};
use super::health::SUPERVISION_KIND;
use super::procs::{PROC, SERVICE, TYPED};
use super::{Family, Key, Kind, Origin, Section, key};
use crate::domain::id::ProcType;

static SCRIPT: Kind = Kind::List(&Kind::Text(&NON_EMPTY));
static BUILD_ARGS: Kind = Kind::List(&Kind::Text(&BUILD_ARG));

static PREPARE: Section = Section::new(
    "prepare",
    "a cached layer of dependencies",
    &[&[
        key(
            "version",
            &Kind::OneOf(&[Kind::Int(0, i64::MAX), Kind::Text(&PREPARE_VERSION)]),
            "The layer's version; a new one makes a new layer.",
        )
        .default("derived from base and script"),
        key("script", &SCRIPT, "Lines, as in `build.script`.").required(),
        key(
            "keep",
            &Kind::List(&Kind::Text(&KEPT_NAME)),
            "Names in `/lain/app` that survive; all else there is deleted.",
        )
        .default("[]"),
        key("build_arg", &BUILD_ARGS, "As in `build`.").default("[]"),
    ]],
);

static BUILD: Section = Section::new(
    "build",
    "from the source tree to the build image",
    &[&[
        key("base", &Kind::Text(&IMAGE), "The base image.").required(),
        key(
            "script",
            &SCRIPT,
            "Lines, each run in a subshell of its own in `/lain/app`; the first failure stops.",
        )
        .required(),
        key(
            "prepare",
            &Kind::OneOf(&[Kind::List(&Kind::Text(&NON_EMPTY)), Kind::Keys(&PREPARE)]),
            "A cached layer of dependencies: its lines, or the full form.",
        ),
        key(
            "build_arg",
            &BUILD_ARGS,
            "Build arguments; a value that starts with `$` comes from the caller's environment.",
        )
        .default("[]"),
        key(
            "volumes",
            &Kind::List(&Kind::Text(&ABSOLUTE)),
            "Absolute paths kept between builds; excludes `release.script`.",
        )
        .default("[]"),
    ]],
)
.hints(&[
    ("image", "base"),
    ("from", "base"),
    ("args", "build_arg"),
    ("scripts", "script"),
]);

static COPY_ITEM: Section = Section::new(
    "copy",
    "what is copied from the build image",
    &[&[
        key(
            "src",
            &Kind::Text(&COPY_PATH),
            "Path in the build image; relative to `/lain/app`.",
        )
        .required(),
        key(
            "dest",
            &Kind::Text(&COPY_PATH),
            "Path in the release image; relative to `/lain/app`.",
        )
        .required(),
    ]],
)
.hints(&[
    ("from", "src"),
    ("source", "src"),
    ("to", "dest"),
    ("dst", "dest"),
]);
static COPY: Kind = Kind::OneOf(&[
    Kind::Text(&COPY_PATH),
    Kind::Int(0, i64::MAX),
    Kind::Keys(&COPY_ITEM),
]);

static RELEASE: Section = Section::new(
    "release",
    "from the build image to the release image",
    &[&[
        key(
            "dest_base",
            &Kind::Text(&IMAGE),
            "The base of the release image.",
        )
        .required(),
        key(
            "copy",
            &Kind::List(&COPY),
            "What is copied: a path, or {src, dest}.",
        )
        .required(),
        key(
            "script",
            &SCRIPT,
            "Lines run in `dest_base` before the copy.",
        )
        .default("[]"),
    ]],
)
.hints(&[("base", "dest_base"), ("image", "dest_base")]);

static TEST: Section = Section::new(
    "test",
    "steps run on the build image",
    &[&[key("script", &SCRIPT, "Lines; a failing one fails the test.").required()]],
);

static SERVICES: Kind = Kind::List(&Kind::Text(&PROC_NAME));

static RESOURCE_USE: Section = Section {
    name: "use_resource",
    doc: "the services of a resource, and its template's variables",
    keys: &[&[key("services", &SERVICES, "The services used.").required()]],
    families: &[],
    rest: Some((&ANY_TEXT, &Kind::Anything)),
    hints: &[],
};
static RESOURCE_USE_KIND: Kind = Kind::Keys(&RESOURCE_USE);

static TOP_KEYS: &[Key] = &[
    key(
        "appname",
        &Kind::Text(&APP_NAME),
        "The app's name, unique in the cluster; not service, resource or portal.",
    )
    .required(),
    key(
        "apptype",
        &Kind::Words(&["app", "resource"]),
        "An app, or a template of which each client gets its own.",
    )
    .default("`app`"),
    key(
        "giturl",
        &Kind::Text(&NO_BLANK),
        "The repository; the first one deployed binds the app.",
    ),
    key(
        "build",
        &Kind::Keys(&BUILD),
        "How the build image is made; required unless each proc has an `image`.",
    ),
    key(
        "release",
        &Kind::Keys(&RELEASE),
        "How the release image is made.",
    )
    .default("the build image"),
    key("test", &Kind::Keys(&TEST), "Test steps."),
    key(
        "notify",
        &Kind::Map(&ANY_TEXT, &Kind::Text(&ANY_TEXT)),
        "Channels to notify: `slack`, `bearychat` and others.",
    ),
    key(
        "use_services",
        &Kind::Map(&APP_NAME, &SERVICES),
        "Services of other apps: app → services.",
    ),
    key(
        "use_resources",
        &Kind::Map(&APP_NAME, &RESOURCE_USE_KIND),
        "Resources: resource app → services and variables.",
    ),
    key(
        "supervision",
        &SUPERVISION_KIND,
        "How one proc's crash touches the others: OTP's strategy, or the full form.",
    )
    .ours()
    .default("`one_for_one`"),
];

const fn family(
    prefix: &'static str,
    proc_type: ProcType,
    origin: Origin,
    doc: &'static str,
) -> Family {
    Family {
        prefix,
        bare: true,
        proc_type: Some(proc_type),
        section: &TYPED,
        origin,
        doc,
    }
}

static FAMILIES: &[Family] = &[
    family(
        "web",
        ProcType::Web,
        Origin::Lain,
        "A proc that answers HTTP behind the router.",
    ),
    family(
        "worker",
        ProcType::Worker,
        Origin::Lain,
        "A proc that runs in the background for ever.",
    ),
    family(
        "oneshot",
        ProcType::Oneshot,
        Origin::Lain,
        "A proc that runs once to its end.",
    ),
    family(
        "portal",
        ProcType::Portal,
        Origin::Lain,
        "The proxy through which clients reach a service.",
    ),
    family(
        "cron",
        ProcType::Cron,
        Origin::Ours,
        "A proc that runs on a schedule.",
    ),
    Family {
        prefix: "proc",
        bare: false,
        proc_type: None,
        section: &PROC,
        origin: Origin::Lain,
        doc: "A proc of the type that its key `type` says.",
    },
    Family {
        prefix: "service",
        bare: false,
        proc_type: None,
        section: &SERVICE,
        origin: Origin::Lain,
        doc: "Short for `proc.NAME` and its portal, `portal.portal-NAME`.",
    },
];

/// The whole file.
pub static TOP: Section = Section {
    name: "lain.yaml",
    doc: "an app: how it is built, and the procs that it runs as",
    keys: &[TOP_KEYS],
    families: FAMILIES,
    rest: None,
    hints: &[
        ("name", "appname"),
        ("app", "appname"),
        ("services", "use_services"),
        ("resources", "use_resources"),
        ("proc", "proc.NAME"),
        ("service", "service.NAME"),
    ],
};
