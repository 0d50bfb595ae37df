//! `mixnn check`: whether models can run in a namespace; what is in their way, and what to do.
//!
//! All reads are here; what they mean is judged by functions that ask nobody. What the person may not read is a
//! finding of its own, and no failure.

mod finding;
mod hosts;
mod model;
mod namespace;
mod platform;
mod schema;

use super::args::CheckArgs;
use super::connect::Place;
use super::status::get;
use crate::args::Format;
use crate::output;
use anyhow::Context;
use finding::{Finding, Level, Seen, seen};
use hosts::Hosts;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use mixnn_crds::{CustomResourceExt, MixNNHost, MixNNModel};
use model::Around;
use namespace::{DEEDS, Deed};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Pods of MixNN, whoever's they are.
const PODS: &str = "mixnn.dev/pod";

/// Looks at everything. Gives whether nothing fails.
pub async fn check(args: &CheckArgs) -> anyhow::Result<bool> {
    let mut place = Place::find(&args.place).await?;
    let file = args.file.as_ref().map(|path| mixnn_crds::parse_file(path)).transpose()?;
    if let (None, Some(named)) =
        (&args.place.namespace, file.as_ref().and_then(ResourceExt::namespace))
    {
        place.namespace = named;
    }
    let version = place.client.apiserver_version().await;
    let version = version.map_err(|e| place.explain("the version of Kubernetes", e))?;
    let mut findings = platform::kubernetes(&version);
    findings.extend(look(&place, args, file).await?);
    show(&findings, args.output)?;
    Ok(findings.iter().all(|f| f.level != Level::Fail))
}

async fn look(
    place: &Place,
    args: &CheckArgs,
    file: Option<MixNNModel>,
) -> anyhow::Result<Vec<Finding>> {
    let client = &place.client;
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut findings = Vec::new();
    for own in [MixNNModel::crd(), MixNNHost::crd()] {
        let found = seen(crds.get_opt(&own.name_any()).await);
        findings.extend(platform::crd(&own, &found));
    }
    let none = |f: &Finding| f.level == Level::Fail;
    let served = !findings.iter().any(none);
    let operators = all::<Deployment>(client, platform::OPERATOR).await;
    findings.extend(platform::operator(&operators));
    let policies = all::<ValidatingAdmissionPolicyBinding>(client, "").await;
    findings.extend(platform::policies(&policies));
    findings.extend(owners_namespace(place).await);
    if !served {
        return Ok(findings);
    }
    let model = match (&args.name, file) {
        (Some(name), _) => {
            let api = Api::namespaced(client.clone(), &place.namespace);
            Some(get(&api, name, place).await?)
        }
        (None, file) => file,
    };
    findings.extend(hosts(place, model.as_ref()).await);
    if let Some(model) = &model {
        let around = around(model, place).await;
        findings.extend(model::judge(model, &around, &operators));
    }
    Ok(findings)
}

/// All objects with a label, in all namespaces.
async fn all<K>(client: &Client, labels: &str) -> Seen<Vec<K>>
where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let list = ListParams::default().labels(labels);
    seen(api.list(&list).await).map(|found| found.items)
}

async fn owners_namespace(place: &Place) -> Vec<Finding> {
    let name = &place.namespace;
    let spaces: Api<Namespace> = Api::all(place.client.clone());
    let space = seen(spaces.get_opt(name).await);
    let pods: Api<Pod> = Api::namespaced(place.client.clone(), name);
    let pods = seen(pods.list(&ListParams::default().labels(PODS)).await).map(|l| l.items);
    let mut allowed = Ok(Vec::new());
    for deed in &DEEDS {
        allowed = match (allowed, may(place, deed).await) {
            (Ok(mut all), Ok(one)) => {
                all.push(one);
                Ok(all)
            }
            (Err(why), _) | (_, Err(why)) => Err(why),
        };
    }
    let mut findings = namespace::labels(name, &space);
    findings.extend(namespace::rights(name, &allowed));
    findings.extend(namespace::pods(name, &pods));
    findings
}

async fn may(place: &Place, deed: &Deed) -> Seen<bool> {
    let api: Api<SelfSubjectAccessReview> = Api::all(place.client.clone());
    let [verb, group, resource, part] = deed.access.map(|text| Some(text.to_owned()));
    let attributes = ResourceAttributes {
        namespace: Some(place.namespace.clone()),
        verb,
        group,
        resource,
        subresource: part,
        ..ResourceAttributes::default()
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            non_resource_attributes: None,
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = seen(api.create(&PostParams::default(), &review).await)?;
    Ok(answer.status.is_some_and(|s| s.allowed))
}

async fn hosts(place: &Place, model: Option<&MixNNModel>) -> Vec<Finding> {
    let hosts = all::<MixNNHost>(&place.client, "").await;
    let spaces = match &hosts {
        Ok(_) => all::<Namespace>(&place.client, "").await,
        Err(why) => Err(why.clone()),
    };
    let spaces = spaces.map(|all| all.into_iter().map(|s| (s.name_any(), s)).collect());
    let seen = Hosts { all: &hosts, spaces: &spaces, owner: &place.namespace };
    hosts::judge(&seen, model)
}

async fn around(model: &MixNNModel, place: &Place) -> Around {
    let (client, namespace) = (&place.client, &place.namespace);
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut around = Around {
        claims: BTreeMap::new(),
        secrets: BTreeMap::new(),
        classes: all::<StorageClass>(client, "").await,
    };
    for name in model::claims(model) {
        let found = seen(claims.get_opt(&name).await);
        around.claims.insert(name, found);
    }
    for name in model::secrets(model) {
        // Its metadata alone.
        let found = seen(secrets.get_metadata_opt(&name).await).map(|found| found.is_some());
        around.secrets.insert(name, found);
    }
    around
}

fn show(findings: &[Finding], format: Format) -> anyhow::Result<()> {
    if format != Format::Text {
        return output::value(format, &findings).context("writing the findings");
    }
    findings.iter().for_each(|finding| output::line(row(finding)));
    let count = |level| findings.iter().filter(|f| f.level == level).count();
    let (fail, warn) = (count(Level::Fail), count(Level::Warn));
    let unseen = match count(Level::Unseen) {
        0 => String::new(),
        unseen => format!(", {unseen} not visible to you"),
    };
    output::line(format!("{fail} to mend, {warn} to look at{unseen}"));
    Ok(())
}

fn row(finding: &Finding) -> String {
    let mark = match finding.level {
        Level::Ok => output::good("✓"),
        Level::Warn => "!".into(),
        Level::Fail => output::bad("✗"),
        Level::Unseen => "?".into(),
    };
    let fix = match finding.fix.as_str() {
        "" => String::new(),
        fix => format!("\n               {fix}"),
    };
    format!("{mark} {:<12} {}{fix}", finding.area, finding.found)
}
