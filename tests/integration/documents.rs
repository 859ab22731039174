//! Documents are read by a process that can be killed, from the real program: it can do nothing but read, ends within its
//! limits, and what becomes of it concerns nothing else.

use kefu::config::{Overrides, load};
use kefu::domain::{DocumentFormat, SystemClock};
use kefu::inference::{E5Embedder, Embedder};
use kefu::retrieval::parse::child::{Limits, Probe, Readers};
use kefu::retrieval::parse::{BlockKind, DocumentFault, FileKind, is_text, parse_document};
use kefu::retrieval::{FileOutcome, Ingester};
use kefu::storage::{PageRequest, SqliteStore, Store};
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

fn readers(limits: Limits) -> Readers {
    Readers::new(PathBuf::from(env!("CARGO_BIN_EXE_kefu")), limits)
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn docx(text: &str) -> Vec<u8> {
    let document =
        format!("<w:document xmlns:w=\"w\"><w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>");
    zip(&[("word/document.xml", document.as_bytes())])
}

fn xlsx(sheet: &str, strings: &str) -> Vec<u8> {
    let relations = |kind: &str, target: &str| {
        format!(
            "<Relationships><Relationship Id=\"rId1\" Type=\"x/{kind}\" Target=\"{target}\"/>\
                 <Relationship Id=\"rId2\" Type=\"x/sharedStrings\" Target=\"sharedStrings.xml\"/></Relationships>"
        )
    };
    zip(&[
        ("_rels/.rels", relations("officeDocument", "xl/workbook.xml").as_bytes()),
        (
            "xl/_rels/workbook.xml.rels",
            relations("worksheet", "sheet1.xml").as_bytes(),
        ),
        (
            "xl/workbook.xml",
            b"<workbook xmlns:r=\"r\"><sheets><sheet name=\"S\" r:id=\"rId1\"/></sheets></workbook>",
        ),
        ("xl/sheet1.xml", sheet.as_bytes()),
        ("xl/sharedStrings.xml", strings.as_bytes()),
    ])
}

#[tokio::test]
async fn a_reading_process_reaches_nothing() {
    let attempts = readers(Limits::default()).probe(Probe::Reach).await.unwrap();
    assert_eq!(attempts.len(), 7);
    for attempt in attempts {
        // Not "nobody listens" or "there is no such file": it may not even ask.
        let refused = attempt.refused.unwrap_or_else(|| panic!("it can {}", attempt.what));
        assert!(
            refused.contains("not permitted") || refused.contains("denied"),
            "{}: {refused}",
            attempt.what
        );
    }
    assert!(!Path::new("/tmp/kefu-probe").exists());
}

#[tokio::test]
async fn a_reading_process_ends_within_its_limits_and_the_next_one_works() {
    let short = Limits {
        cpu_seconds: 1,
        at_once: 4,
        ..Limits::default()
    };
    let readers = readers(short);
    let hasty = Readers::new(
        PathBuf::from(env!("CARGO_BIN_EXE_kefu")),
        Limits {
            wall: Duration::from_millis(50),
            ..Limits::default()
        },
    );
    let (spinning, waiting, filling, recursing) = tokio::join!(
        readers.probe(Probe::Spin),
        hasty.probe(Probe::Spin),
        readers.probe(Probe::Fill),
        readers.probe(Probe::Recurse),
    );
    assert_eq!(spinning, Err(DocumentFault::TimedOut { seconds: 1 }));
    assert!(matches!(waiting, Err(DocumentFault::TimedOut { .. })));
    for ended in [filling, recursing] {
        assert!(
            matches!(&ended, Err(DocumentFault::Crashed { how }) if how.contains("SIG")),
            "{ended:?}"
        );
    }
    let parsed = readers
        .document(&docx("七天内可退。"), DocumentFormat::Docx)
        .await
        .unwrap();
    assert_eq!(parsed.text, "七天内可退。");
    let tight = Readers::new(
        PathBuf::from(env!("CARGO_BIN_EXE_kefu")),
        Limits {
            output: 100,
            ..Limits::default()
        },
    );
    let long = tight.document(&docx(&"长".repeat(1000)), DocumentFormat::Docx).await;
    assert!(matches!(long, Err(DocumentFault::TooLarge { .. })), "{long:?}");
    let none = Readers::new(PathBuf::from("/nonexistent/kefu"), Limits::default());
    let none = none.document(b"x", DocumentFormat::Pdf).await;
    assert!(matches!(none, Err(DocumentFault::NoReader { .. })), "{none:?}");
}

#[tokio::test]
async fn hostile_workbooks_and_bombs_end_in_an_answer() {
    let readers = readers(Limits::default());
    let cells = "<worksheet><sheetData><row r=\"1\"><c r=\"A1\"><v>1</v></c></row><row r=\"1048576\"><c r=\"XFD1048576\"><v>2</v></c>\
                 </row></sheetData></worksheet>";
    let claims = "<sst count=\"900000000000\" uniqueCount=\"900000000000\"><si><t>x</t></si></sst>";
    let parsed = readers
        .document(&xlsx(cells, claims), DocumentFormat::Xlsx)
        .await
        .unwrap();
    assert_eq!(parsed.text, "S\n\n1\n\n2");
    let bomb = zip(&[("word/document.xml", &vec![b' '; 150 << 20])]);
    let fault = readers.document(&bomb, DocumentFormat::Docx).await;
    assert!(matches!(fault, Err(DocumentFault::TooLarge { .. })), "{fault:?}");
    for format in DocumentFormat::ALL {
        let noise: Vec<u8> = (0..=255).cycle().take(4096).collect();
        let fault = readers.document(&noise, format).await;
        assert!(
            matches!(fault, Err(DocumentFault::Broken { .. } | DocumentFault::Empty)),
            "{}: {fault:?}",
            format.name()
        );
    }
}

fn embedder() -> Arc<dyn Embedder> {
    let dir = std::env::var_os("KEFU_TEST_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("models"), PathBuf::from);
    let path = dir.join("e5-small-q4.bin");
    assert!(
        path.is_file(),
        "{} is missing: run scripts/test.sh, which fetches the models",
        path.display()
    );
    let config = load(&Overrides::default()).unwrap().inference;
    Arc::new(E5Embedder::load(&path, "multilingual-e5-small", "test", &config).unwrap())
}

#[tokio::test]
async fn every_file_of_an_archive_is_a_document_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(
        SqliteStore::open(&directory.path().join("data"), Arc::new(SystemClock))
            .await
            .unwrap(),
    );
    let archive = zip(&[
        ("a/returns.docx", &docx("签收后七天内可以退货。")),
        ("fees.csv", "产品,费率\n活期,0.20%\n定期,1.50%\n".as_bytes()),
        ("faq.csv", "question,answer\n怎么退货,七天内申请\n".as_bytes()),
        ("broken.pdf", b"%PDF-1.4 nothing"),
        ("inner.zip", &zip(&[("x.md", b"x")])),
    ]);
    let path = directory.path().join("docs.zip");
    std::fs::write(&path, archive).unwrap();
    let config = load(&Overrides::default()).unwrap().retrieval;
    let ingester = Ingester::new(store.clone(), embedder(), Arc::new(SystemClock), config)
        .with_readers(readers(Limits::default()));
    let import = async || {
        let paths = [path.clone()];
        ingester.import(&paths, &(), &CancellationToken::new()).await.unwrap()
    };
    let report = import().await;
    let outcomes: Vec<(&str, bool)> = report
        .files
        .iter()
        .map(|file| {
            (
                file.source.as_str(),
                !matches!(file.outcome, FileOutcome::Failed { .. }),
            )
        })
        .collect();
    assert_eq!(
        outcomes,
        [
            ("docs.zip/a/returns.docx", true),
            ("docs.zip/fees.csv", true),
            ("docs.zip/faq.csv", true),
            ("docs.zip/broken.pdf", false),
            ("docs.zip/inner.zip", false),
        ]
    );
    assert_eq!(report.failures(), 2);
    let documents = store.documents(&PageRequest::first(10)).await.unwrap().items;
    let formats: Vec<DocumentFormat> = documents.iter().map(|document| document.format).collect();
    assert!(
        formats.contains(&DocumentFormat::Docx) && formats.contains(&DocumentFormat::Csv),
        "{formats:?}"
    );
    let again = import().await;
    assert_eq!(again.files[0].outcome, FileOutcome::Unchanged);
    assert_eq!(again.embedded.computed, 0);
}

/// Files that cannot give text, by what their names say of them.
fn is_unreadable(name: &str) -> bool {
    ["password", "copy-protected", "scanned", "loremipsum-flat"]
        .iter()
        .any(|part| name.contains(part))
}

/// Where `KEFU_TEST_DATA` names a directory that holds `messy_docs/files`: real documents of all kinds.
#[tokio::test]
async fn real_documents_give_their_text() {
    let Some(directory) = std::env::var_os("KEFU_TEST_DATA") else {
        eprintln!("KEFU_TEST_DATA is not set: real documents are not read");
        return;
    };
    let directory = PathBuf::from(directory).join("messy_docs/files");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let readers = readers(Limits::default());
    let (mut valid, mut read, mut ended) = (0, 0, 0);
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).unwrap();
        let format = match FileKind::of(&path) {
            Ok(FileKind::Document(format)) => format,
            Ok(FileKind::Csv) => DocumentFormat::Csv,
            _ => {
                println!("{name:50} no document");
                continue;
            }
        };
        let begun = std::time::Instant::now();
        let parsed = if is_text(format) {
            parse_document(&bytes, format).map_err(|error| error.to_string())
        } else {
            let parsed = readers.document(&bytes, format).await;
            ended += usize::from(matches!(
                parsed,
                Err(DocumentFault::Crashed { .. } | DocumentFault::TimedOut { .. } | DocumentFault::NoReader { .. })
            ));
            parsed.map_err(|fault| fault.to_string())
        };
        let took = begun.elapsed().as_millis();
        valid += usize::from(!is_unreadable(&name));
        match parsed {
            Ok(parsed) => {
                parsed.check().unwrap();
                read += usize::from(!is_unreadable(&name));
                let count =
                    |wanted: fn(&BlockKind) -> bool| parsed.blocks.iter().filter(|block| wanted(&block.kind)).count();
                println!(
                    "{name:50} {took:5} ms {:7} characters {:3} pages {:3} headings {:3} tables {:4} blocks  {}",
                    parsed.text.chars().count(),
                    parsed.pages.len(),
                    count(|kind| matches!(kind, BlockKind::Heading { .. })),
                    count(|kind| *kind == BlockKind::Table),
                    parsed.blocks.len(),
                    parsed.title.as_deref().unwrap_or("-"),
                );
                if let Some(out) = std::env::var_os("KEFU_TEST_OUT") {
                    std::fs::write(Path::new(&out).join(format!("{name}.txt")), &parsed.text).unwrap();
                }
            }
            Err(error) => println!("{name:50} {took:5} ms {error}"),
        }
    }
    println!("{read} of {valid} valid documents gave text; {ended} processes ended early");
    assert_eq!(ended, 0);
    assert!(read * 100 >= valid * 95, "{read} of {valid}");
}
