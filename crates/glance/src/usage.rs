//! `GET /usages`: counts and sizes of images by format (spec 21 §15).

use base::{Json, Kind, Result, Scope};
use serde_json::Map;
use std::collections::BTreeMap;
use store::{Cond, Db, Pick, Read, Select};

/// Count and bytes.
type Sums = (i64, i64);

/// The figures of the images that meet a condition, with keys as clients know them.
pub async fn figures(mut db: &Db, scope: Scope, of: Cond) -> Result<Json> {
    let alive = of.and(Cond::eq("deleted", false)).and(Cond::ne("status", "killed"));
    let by_format = |cond: Cond| {
        Select::from("images")
            .column("disk_format", Kind::Text)
            .pick(Pick::Count)
            .pick(Pick::Sum("size".into()))
            .filter(cond)
            .group_by("disk_format")
    };
    let in_use = Cond::eq("pending_deleted", false);
    let members = Cond::eq("is_guest_image", true);
    let single = alive.clone().and(members.clone().not());
    let active = db.rows(&by_format(single.clone().and(in_use.clone()).and(Cond::eq("status", "active")))).await?;
    let deleted = db.rows(&by_format(single.and(Cond::eq("pending_deleted", true)))).await?;
    let members = db.count("images", alive.and(members).and(in_use)).await?;
    let sums = |rows: Vec<Vec<base::Value>>| {
        let one = |r: &Vec<base::Value>| (r[0].as_str().to_string(), (r[1].as_int().unwrap_or(0), r[2].as_int().unwrap_or(0)));
        rows.iter().map(one).collect::<BTreeMap<_, _>>()
    };
    let mut out = Map::new();
    let prefix = match scope {
        Scope::System => "all.",
        Scope::Domain => "domain.",
        _ => "",
    };
    write(&mut out, prefix, "", &sums(active));
    write(&mut out, prefix, "pending_delete.", &sums(deleted));
    out.insert(format!("{prefix}guest_image.count"), members.into());
    Ok(Json::Object(out))
}

/// `img.` without discs, `iso.` discs alone, `imgiso.` both.
fn write(out: &mut Map<String, Json>, prefix: &str, part: &str, by_format: &BTreeMap<String, Sums>) {
    for (group, wanted) in [("img", [true, false]), ("iso", [false, true]), ("imgiso", [true, true])] {
        let mut total: Sums = (0, 0);
        let mut put = |key: &str, (count, size): Sums| {
            out.insert(format!("{prefix}{group}.{part}{key}.count"), count.into());
            out.insert(format!("{prefix}{group}.{part}{key}.size"), size.into());
        };
        for (format, sums) in by_format.iter().filter(|(f, _)| wanted[usize::from(*f == "iso")]) {
            total = (total.0 + sums.0, total.1 + sums.1);
            put(format, *sums);
        }
        put("total", total);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups() {
        let mut out = Map::new();
        let formats = BTreeMap::from([("iso".to_string(), (2, 30)), ("qcow2".to_string(), (1, 5)), ("raw".to_string(), (1, 7))]);
        write(&mut out, "all.", "", &formats);
        let get = |key: &str| out[key].as_i64().expect("a number");
        assert_eq!((get("all.img.total.count"), get("all.img.total.size")), (2, 12));
        assert_eq!((get("all.iso.total.count"), get("all.iso.iso.size")), (2, 30));
        assert_eq!((get("all.imgiso.total.count"), get("all.imgiso.raw.size")), (4, 7));
        assert!(!out.contains_key("all.img.iso.count"));
    }
}
