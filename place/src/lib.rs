//! Where an owner's files are: a folder (a mounted volume is one too), or an object store.
//!
//! Data are read from places (`mixnn_data`), checkpoints are written to them (`mixnn_vault`). Object
//! stores are set up from the environment, as their own tools are: `AWS_ACCESS_KEY_ID`,
//! `AWS_ENDPOINT`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_NAME` ..

mod place;

pub use place::Place;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use url::Url;

/// Settings of object stores come from variables that begin with these.
const SETTINGS: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// The settings of object stores in this process's environment.
pub fn store_settings() -> Vec<(String, String)> {
    let of_a_store = |name: &str| SETTINGS.iter().any(|start| name.starts_with(start));
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| of_a_store(name))
        .collect()
}

/// An object store, and the prefix in it that a URL names.
///
/// # Errors
/// The settings make no sense, in words.
pub fn open_store(url: &Url) -> Result<(Box<dyn ObjectStore>, Path), String> {
    let settings =
        store_settings().into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
    object_store::parse_url_opts(url, settings).map_err(|e| e.to_string())
}

/// Writes one object, whole or not at all.
///
/// # Errors
/// The store refuses, in words.
pub async fn put(url: &Url, bytes: Vec<u8>) -> Result<(), String> {
    let (store, path) = open_store(url)?;
    let put = store.put(&path, PutPayload::from(bytes)).await;
    put.map(drop).map_err(|e| e.to_string())
}
