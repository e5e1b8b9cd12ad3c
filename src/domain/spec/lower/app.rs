//! Reads what a file says besides its procs.

use super::super::error::Place;
use super::super::model::{
    AppSpec, AppType, BuildSpec, CopySpec, PrepareSpec, ProcSpec, ProcStrategy, ReleaseSpec,
    ResourceUse, Supervision, TestSpec,
};
use super::super::report::{Path, Report};
use super::super::value;
use super::super::yaml::Node;
use super::read::{duration, items, nodes, number, text, text_or_number, texts, unique};
use std::collections::{BTreeMap, HashMap};

/// The app; `None` without a usable name.
pub(super) fn lower(root: &Node, procs: Vec<ProcSpec>) -> Option<AppSpec> {
    Some(AppSpec {
        appname: value::app_name(text(root, "appname")?).ok()?,
        apptype: if text(root, "apptype") == Some("resource") {
            AppType::Resource
        } else {
            AppType::App
        },
        giturl: text(root, "giturl").map(str::to_owned),
        build: root.get("build").and_then(build),
        release: root.get("release").and_then(release),
        test: root.get("test").map(|test| TestSpec {
            script: texts(test, "script"),
        }),
        notify: notify(root),
        use_services: use_services(root),
        use_resources: use_resources(root),
        supervision: root.get("supervision").map(supervision).unwrap_or_default(),
        procs,
    })
}

fn build(body: &Node) -> Option<BuildSpec> {
    Some(BuildSpec {
        base: text(body, "base")?.to_owned(),
        script: texts(body, "script"),
        build_arg: texts(body, "build_arg"),
        prepare: body.get("prepare").map(|node| prepare(body, node)),
        volumes: items(body, "volumes", value::absolute_or_app)
            .into_iter()
            .map(|(_, _, path)| path)
            .collect(),
    })
}

fn prepare(build: &Node, node: &Node) -> PrepareSpec {
    if node.entries().is_none() {
        return PrepareSpec {
            version: None,
            script: texts(build, "prepare"),
            keep: Vec::new(),
            build_arg: Vec::new(),
        };
    }
    let version = text_or_number(node, "version");
    PrepareSpec {
        version,
        script: texts(node, "script"),
        keep: texts(node, "keep"),
        build_arg: texts(node, "build_arg"),
    }
}

fn release(body: &Node) -> Option<ReleaseSpec> {
    Some(ReleaseSpec {
        dest_base: text(body, "dest_base")?.to_owned(),
        script: texts(body, "script"),
        copy: nodes(body, "copy")
            .into_iter()
            .filter_map(|(_, node)| copy_item(node))
            .collect(),
    })
}

/// One item: a path, a number that is a path, or both ends.
fn copy_item(node: &Node) -> Option<CopySpec> {
    let path = |text: &str| value::copy_path(text).ok();
    if let Some(written) = node
        .int()
        .map(|n| n.to_string())
        .or_else(|| node.text().map(str::to_owned))
    {
        let both = path(&written)?;
        return Some(CopySpec {
            src: both.clone(),
            dest: both,
        });
    }
    Some(CopySpec {
        src: path(text(node, "src")?)?,
        dest: copy_dest(text(node, "dest")?)?,
    })
}

/// A destination keeps its trailing slash: it says that it is a directory.
fn copy_dest(text: &str) -> Option<String> {
    value::copy_path(text).ok()
}

fn notify(root: &Node) -> BTreeMap<String, String> {
    let entries = root
        .get("notify")
        .and_then(Node::entries)
        .unwrap_or_default();
    entries
        .iter()
        .filter_map(|e| Some((e.key.clone(), e.node.text()?.to_owned())))
        .collect()
}

fn use_services(root: &Node) -> BTreeMap<String, Vec<String>> {
    let Some(node) = root.get("use_services") else {
        return BTreeMap::new();
    };
    node.entries()
        .unwrap_or_default()
        .iter()
        .map(|e| (e.key.clone(), texts(node, &e.key)))
        .collect()
}

fn use_resources(root: &Node) -> BTreeMap<String, ResourceUse> {
    let entries = root
        .get("use_resources")
        .and_then(Node::entries)
        .unwrap_or_default();
    let one = |body: &Node| ResourceUse {
        services: texts(body, "services"),
        variables: body
            .entries()
            .unwrap_or_default()
            .iter()
            .filter(|entry| entry.key != "services")
            .map(|entry| (entry.key.clone(), entry.node.to_json()))
            .collect(),
    };
    entries
        .iter()
        .map(|entry| (entry.key.clone(), one(&entry.node)))
        .collect()
}

fn supervision(node: &Node) -> Supervision {
    let strategy = node.text().or_else(|| text(node, "strategy"));
    let default = Supervision::default();
    Supervision {
        strategy: match strategy {
            Some("one_for_all") => ProcStrategy::OneForAll,
            Some("rest_for_one") => ProcStrategy::RestForOne,
            _ => default.strategy,
        },
        intensity: number(node, "intensity").unwrap_or(default.intensity),
        period: duration(node, "period").unwrap_or(default.period),
    }
}

/// A client reaches a service by its bare name, so no two of them may be the same.
pub(super) fn check_services(root: &Node, report: &mut Report<'_>) {
    let mut seen: HashMap<String, Place> = HashMap::new();
    let top = Path::root();
    let services = root.get("use_services");
    let path = top.key("use_services");
    for entry in services.and_then(Node::entries).unwrap_or_default() {
        check_names(&entry.node, &path.key(&entry.key), &mut seen, report);
    }
    let path = top.key("use_resources");
    for entry in root
        .get("use_resources")
        .and_then(Node::entries)
        .unwrap_or_default()
    {
        if let Some(services) = entry.node.get("services") {
            let resource = path.key(&entry.key);
            check_names(services, &resource.key("services"), &mut seen, report);
        }
    }
}

fn check_names(
    list: &Node,
    path: &Path<'_>,
    seen: &mut HashMap<String, Place>,
    report: &mut Report<'_>,
) {
    for (index, node) in list.items().unwrap_or_default().iter().enumerate() {
        if let Some(name) = node.text() {
            unique(seen, "service", name, (node, &path.index(index)), report);
        }
    }
}
