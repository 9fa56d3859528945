//! What the processes of a control plane read: a key, a token, kubeconfigs.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tempfile::TempDir;

use crate::TestbedError;
use crate::process::io;

/// A directory with all of it, removed when it is dropped.
#[derive(Debug)]
pub struct Files {
    directory: TempDir,
    token: String,
}

impl Files {
    /// Makes a key and a token.
    pub fn make() -> Result<Self, TestbedError> {
        let directory = TempDir::new().map_err(io("make a directory"))?;
        let token = format!("{:032x}", rand::random::<u128>());
        let files = Self { directory, token };
        for name in ["etcd", "certificates"] {
            let path = files.path(name);
            std::fs::create_dir(&path).map_err(io(format!("make {}", path.display())))?;
        }
        let key = rcgen::KeyPair::generate()?.serialize_pem();
        files.write("service-accounts.key", &key)?;
        let tokens = format!("{},admin,admin,system:masters\n", files.token);
        files.write("tokens.csv", &tokens)?;
        Ok(files)
    }

    /// The path of a file or a directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The certificate that kube-apiserver makes for itself and its authority.
    pub fn certificate(&self) -> PathBuf {
        self.path("certificates/apiserver.crt")
    }

    /// Writes a file that only its owner can read.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf, TestbedError> {
        let path = self.path(name);
        let mut file = OpenOptions::new();
        file.write(true).create(true).truncate(true).mode(0o600);
        file.open(&path)
            .and_then(|mut file| file.write_all(content.as_bytes()))
            .map_err(io(format!("write {}", path.display())))?;
        Ok(path)
    }

    /// An administrator's kubeconfig, that works from everywhere on this machine.
    pub fn kubeconfig(&self, url: &str) -> Result<String, TestbedError> {
        let path = self.certificate();
        let authority = std::fs::read(&path).map_err(io(format!("read {}", path.display())))?;
        Ok(format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: testbed\n  \
               cluster:\n    \
                 server: {url}\n    \
                 certificate-authority-data: {}\n\
             users:\n\
             - name: admin\n  \
               user:\n    \
                 token: {}\n\
             contexts:\n\
             - name: testbed\n  \
               context:\n    \
                 cluster: testbed\n    \
                 user: admin\n\
             current-context: testbed\n",
            BASE64_STANDARD.encode(authority),
            self.token
        ))
    }
}
