//! Files that people write: small, and really files.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// More than any code table, contract or model has.
const LARGEST: u64 = 256 << 20;

/// All bytes of a file. What is none (a device, a pipe) or is larger than 256 MiB is refused: reading it might never end.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe waits for somebody to write.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("codes.csv");
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(&path, "code,label\n").unwrap();
        assert_eq!(read(&path).unwrap(), b"code,label\n");
        for other in [Path::new("/dev/zero"), folder.path()] {
            assert_eq!(read(other).unwrap_err().to_string(), "it is no file");
        }
        let pipe = std::ffi::CString::new(folder.path().join("pipe").to_str().unwrap()).unwrap();
        // SAFETY: a path that ends with a zero.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        assert_eq!(read(&folder.path().join("pipe")).unwrap_err().to_string(), "it is no file");
    }
}
