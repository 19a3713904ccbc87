//! An object store that fails as told: the network's and the disk's tricks on the log.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, path::Path,
};

use super::store;

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Trick {
    /// Much happens before the object is written.
    Meanwhile,
    /// The same, and the answer is an error.
    MeanwhileButFails,
    /// The object is written, the answer is an error.
    LandsButFails,
    /// The object is written, the answer says that it had been there.
    LandsButExists,
    /// The object is written, a stranger writes data right behind it, and the answer is an error.
    LandsThenStranger,
    /// The object is written, the answer is an error, and so is that of the second read after it.
    LandsThenDeafOnce,
    /// A stranger's entry with this text is faster.
    Overtaken(&'static str),
    /// Nothing is written.
    Fails,
    /// A list lacks the newest entry.
    LateList,
}

/// Plays its trick on writes of paths that contain `on` (or on lists of them), so many times. It must come to that: a
/// test whose fault never was there proves nothing.
pub struct Faulty {
    inner: Arc<dyn ObjectStore>,
    on: String,
    trick: Trick,
    left: Mutex<usize>,
    /// Whether reads fail too, after the first trick.
    deaf: bool,
    tricked: Mutex<bool>,
    /// Reads until one fails.
    deaf_in: Mutex<Option<usize>>,
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Faulty {
    pub fn new(on: &str, trick: Trick, times: usize) -> Arc<Faulty> {
        Faulty::make(on, trick, times, false)
    }

    /// What happens between a look and the put that follows it.
    pub fn meanwhile(on: &str, trick: Trick, happens: impl FnOnce() + Send + 'static) -> Arc<Faulty> {
        let faulty = Faulty::make(on, trick, 1, false);
        *faulty.meanwhile.lock().unwrap() = Some(Box::new(happens));
        faulty
    }

    /// Once tricked, it does not answer reads either.
    pub fn deaf(on: &str, trick: Trick, times: usize) -> Arc<Faulty> {
        Faulty::make(on, trick, times, true)
    }

    fn make(on: &str, trick: Trick, times: usize, deaf: bool) -> Arc<Faulty> {
        let (inner, on, left) = (store::local(), on.to_owned(), Mutex::new(times));
        let (tricked, deaf_in, meanwhile) = (Mutex::new(false), Mutex::new(None), Mutex::new(None));
        Arc::new(Faulty { inner, on, trick, left, deaf, tricked, deaf_in, meanwhile })
    }

    /// What was planned has happened; now so many times more.
    pub fn again(&self, times: usize) {
        assert!(std::mem::take(&mut *self.tricked.lock().unwrap()), "no {:?} on {} so far", self.trick, self.on);
        *self.left.lock().unwrap() = times;
    }

    fn trick(&self, path: &Path) -> Option<Trick> {
        let mut left = self.left.lock().unwrap();
        if *left == 0 || !path.as_ref().contains(&self.on) {
            return None;
        }
        *left -= 1;
        *self.tricked.lock().unwrap() = true;
        Some(self.trick)
    }

    fn writes(&self, path: &Path) -> Option<Trick> {
        if self.trick == Trick::LateList { None } else { self.trick(path) }
    }

    fn list_is_late(&self, prefix: Option<&Path>) -> bool {
        self.trick == Trick::LateList && prefix.is_some_and(|prefix| self.trick(prefix).is_some())
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let tricked = *self.tricked.lock().unwrap();
        assert!(tricked || std::thread::panicking(), "there never was a {:?} on {}", self.trick, self.on);
    }
}

fn broken() -> Error {
    Error::Generic { store: "faulty", source: "as told".into() }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        match self.writes(location) {
            None | Some(Trick::LateList) => self.inner.put_opts(location, payload, opts).await,
            Some(Trick::Fails) => Err(broken()),
            Some(trick @ (Trick::Meanwhile | Trick::MeanwhileButFails)) => {
                let happens = self.meanwhile.lock().unwrap().take().unwrap();
                tokio::task::spawn_blocking(happens).await.unwrap();
                let put = self.inner.put_opts(location, payload, opts).await;
                if trick == Trick::Meanwhile { put } else { put.and(Err(broken())) }
            }
            Some(Trick::LandsButFails) => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(broken())
            }
            Some(Trick::LandsThenStranger) => {
                self.inner.put_opts(location, payload, opts.clone()).await?;
                let name = location.filename().unwrap();
                let behind = format!("{:020}.json", name.trim_end_matches(".json").parse::<u64>().unwrap() + 1);
                let mut parts: Vec<_> = location.parts().collect();
                *parts.last_mut().unwrap() = behind.as_str().into();
                let text = concat!(
                    r#"{"commitInfo":{"operation":"WRITE"}}"#,
                    "\n",
                    r#"{"add":{"path":"x","partitionValues":{},"size":1,"modificationTime":0,"dataChange":true}}"#,
                );
                self.inner.put_opts(&Path::from_iter(parts), text.into(), opts).await?;
                Err(broken())
            }
            Some(Trick::LandsThenDeafOnce) => {
                self.inner.put_opts(location, payload, opts).await?;
                *self.deaf_in.lock().unwrap() = Some(1);
                Err(broken())
            }
            Some(Trick::Overtaken(text)) => {
                self.inner.put_opts(location, text.into(), opts).await?;
                Err(Error::AlreadyExists { path: location.to_string(), source: "as told".into() })
            }
            Some(Trick::LandsButExists) => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(Error::AlreadyExists { path: location.to_string(), source: "as told".into() })
            }
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        if self.writes(location).is_some() {
            return Err(broken());
        }
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if self.deaf && *self.tricked.lock().unwrap() {
            return Err(broken());
        }
        let deaf_in = self.deaf_in.lock().unwrap().take();
        match deaf_in {
            Some(0) => return Err(broken()),
            left => *self.deaf_in.lock().unwrap() = left.map(|left| left - 1),
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let all = self.inner.list(prefix);
        if !self.list_is_late(prefix) {
            return all;
        }
        let late = async move {
            let mut all: Vec<ObjectMeta> = all.try_collect().await?;
            let is_entry = |object: &ObjectMeta| object.location.as_ref().ends_with(".json");
            let newest = all.iter().filter(|object| is_entry(object)).map(|object| object.location.clone()).max();
            all.retain(|object| Some(&object.location) != newest.as_ref());
            Ok::<_, Error>(futures::stream::iter(all.into_iter().map(Ok)))
        };
        futures::stream::once(late).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
