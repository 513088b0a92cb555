//! List parameters that only images have (spec 21 §10.2).

use api_image::arch::normalise;
use base::Result;
use resource::Params;
use store::{Cond, Match, Op, Select};

pub fn narrow(params: &Params, cond: &mut Cond) -> Result<()> {
    let mut add = |more: Cond| *cond = std::mem::replace(cond, Cond::True).and(more);
    let formats = words(params, "disk_formats");
    if !formats.is_empty() {
        add(Cond::is_in("disk_format", formats));
    }
    let copies = [words(params, "subFormats"), words(params, "sub_formats")].concat();
    if !copies.is_empty() {
        let with_copy = Cond::is_in("format", copies.clone()).and(Cond::eq("status", crate::copies::ACTIVE));
        let ids = Select::from("sub_images").column("image_id", base::Kind::Text).filter(with_copy);
        add(Cond::is_in("disk_format", copies).or(Cond::in_select("id", ids)));
    }
    if let Some(uefi) = params.flag("uefi") {
        add(Cond::eq("uefi_support", uefi));
    }
    for (param, precise, column) in [
        ("os_types", "os_type_precise_match", "os_type"),
        ("os_archs", "os_arch_precise_match", "os_arch"),
        ("distributions", "distribution_precise_match", "os_distribution"),
    ] {
        let mut wanted = params.all(param);
        if column == "os_arch" {
            wanted = wanted.iter().map(|w| normalise(w)).collect();
        }
        if wanted.is_empty() {
            continue;
        }
        let exact = params.flag(precise) == Some(true);
        let one = |word: String| {
            if exact { Cond::Cmp(column.into(), Op::Eq, word.into()) } else { Cond::Text(column.into(), Match::Contains, word) }
        };
        add(wanted.into_iter().map(one).fold(Cond::False, Cond::or));
    }
    Ok(())
}

fn words(params: &Params, key: &str) -> Vec<String> {
    params.all(key).iter().map(|w| diskimage::Format::parse(w).map_or_else(|| w.to_ascii_lowercase(), |f| f.name().to_string())).collect()
}
