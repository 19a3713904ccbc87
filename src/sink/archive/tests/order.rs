//! Durable before visible: nothing may get its name before its bytes are on the disk, and nothing may tell of a file before
//! the file's name is.

use std::collections::BTreeSet;

use object_store::{ObjectStoreExt, PutMultipartOptions};

use super::*;
use crate::sink::kernel::{Asked, watch};

/// Whether a file of this name tells of others.
fn tells(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    name == "_last_checkpoint" || name == "intent" || (name.ends_with(".json") && !name.starts_with('_'))
}

/// Checks the order; gives the names that files got.
#[track_caller]
fn in_order(asked: &[Asked]) -> Vec<PathBuf> {
    let (mut synced, mut names) = (BTreeSet::new(), Vec::new());
    // Folders with entries that are not on the disk.
    let mut loose = BTreeSet::new();
    let mut intended = false;
    for asked in asked {
        match asked {
            Asked::Synced(path) => {
                loose.remove(path.as_path());
                synced.insert(path.as_path());
            }
            Asked::Made(folder) => drop(loose.insert(folder.parent().unwrap())),
            Asked::Named(from, to) => {
                assert!(synced.remove(from.as_path()), "{} is there before its bytes are on the disk", to.display());
                let data = to.extension().is_some_and(|ending| ending == "parquet")
                    && !to.parent().unwrap().ends_with("_delta_log");
                if tells(to) || data {
                    let others = loose.iter().filter(|folder| !data || folder.iter().any(|part| part == "_staging"));
                    let others: Vec<_> = others.collect();
                    assert!(others.is_empty(), "{} is there before what lies in {others:?} is", to.display());
                }
                assert!(intended || !data, "{} is there before an intent says so", to.display());
                intended = match to.file_name().unwrap().to_str().unwrap() {
                    "intent" => true,
                    name => intended && !name.ends_with(".json"),
                };
                loose.insert(to.parent().unwrap());
                names.push(to.clone());
            }
        }
    }
    assert!(loose.is_empty(), "at the end {loose:?} have entries that are not on the disk");
    names
}

#[test]
fn nothing_is_visible_before_it_is_on_the_disk() {
    let bench = Bench::in_memory();
    let root = bench.folder.path().canonicalize().unwrap();
    let asked = watch(&root, || {
        let mut archive = bench.open(&[0]);
        archive.write(&with_rejects(outcome(0, 0, 4, &rows(0..3)), &[3])).unwrap();
        archive.commit(&covered(0, 0, 4)).unwrap();
        (4..104).for_each(|offset| carry(&mut archive, 0, offset, offset + 1).unwrap());
        bench.try_compact().unwrap();
    });
    let names = in_order(&asked);
    for (ending, least) in [(".zstd.parquet", 103), (".json", 104), (".checkpoint.parquet", 1), ("_last_checkpoint", 1)]
    {
        let found = names.iter().filter(|path| path.to_str().unwrap().ends_with(ending)).count();
        assert!(found >= least, "{found} times {ending} of {names:?}");
    }
}

/// A checkpoint of many megabytes comes in parts.
#[test]
fn what_comes_in_parts_is_not_visible_before_it_is_on_the_disk() {
    let bench = Bench::in_memory();
    let root = bench.folder.path().canonicalize().unwrap();
    let target = root.join("orders/_delta_log/00000000000000000100.checkpoint.parquet");
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    let location = object_store::path::Path::from_absolute_path(&target).unwrap();
    let store = store::local();
    let parts = ["eins ".repeat(1000), "zwei ".repeat(2000), "drei".to_owned()];
    let put = |finish: bool| {
        bench.runtime.block_on(async {
            let mut upload = store.put_multipart_opts(&location, PutMultipartOptions::default()).await.unwrap();
            // All under way at once, as who uploads in parallel does it.
            let under_way: Vec<_> = parts.iter().map(|part| upload.put_part(part.clone().into())).collect();
            for part in under_way {
                part.await.unwrap();
            }
            if finish { drop(upload.complete().await.unwrap()) } else { upload.abort().await.unwrap() }
        });
    };
    let asked = watch(&root, || put(true));
    assert_eq!(in_order(&asked), std::slice::from_ref(&target));
    assert_eq!(fs::read_to_string(&target).unwrap(), parts.concat());
    fs::remove_file(&target).unwrap();
    put(false);
    assert_eq!(fs::read_dir(target.parent().unwrap()).unwrap().count(), 0, "what was given up leaves nothing");
    bench.runtime.block_on(async { drop(store.put(&location, "whole".into()).await.unwrap()) });
    assert_eq!(fs::read_to_string(&target).unwrap(), "whole");
}
