use crate::aws::Aws;

const IMAGE: &str = "ami-0b100100000000001";

#[test]
fn tags_have_limits() {
    let mut aws = Aws::new();
    let (long_key, long_value) = ("k".repeat(129), "v".repeat(257));
    let table: &[(&str, &str, &str)] = &[
        ("aws:reserved", "x", "InvalidParameterValue"),
        (&long_key, "x", "InvalidParameterValue"),
        ("x", &long_value, "InvalidParameterValue"),
        ("", "x", "InvalidParameterValue"),
    ];
    for (key, value, code) in table {
        let parameters = [("ResourceId.1", IMAGE), ("Tag.1.Key", key), ("Tag.1.Value", value)];
        assert_eq!(aws.code("CreateTags", &parameters), *code, "{key}");
    }
    let many: Vec<(String, String)> = (1..=51).map(|n| (format!("Tag.{n}.Key"), format!("key{n}"))).collect();
    let mut parameters: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    parameters.push(("ResourceId.1", IMAGE));
    assert_eq!(aws.code("CreateTags", &parameters), "TagLimitExceeded");
}

#[test]
fn tags_are_put_on_all_resources_or_on_none() {
    let mut aws = Aws::new();
    let tag = [("Tag.1.Key", "stage"), ("Tag.1.Value", "prod")];
    let ids = [("ResourceId.1", IMAGE), ("ResourceId.2", "vol-0123456789abcdef0")];
    assert_eq!(
        aws.code("CreateTags", &[&ids[..], &tag].concat()),
        "InvalidVolume.NotFound"
    );
    let filter = [("Filter.1.Name", "tag:stage"), ("Filter.1.Value.1", "prod")];
    assert!(aws.call("DescribeTags", &filter).all("resourceId").is_empty());
    aws.call("CreateTags", &[&ids[..1], &tag].concat());
    assert_eq!(aws.call("DescribeTags", &filter).all("resourceId"), [IMAGE]);
    for malformed in ["unicorn", "ami-unicorn", "i-1"] {
        assert_eq!(
            aws.code("CreateTags", &[("ResourceId.1", malformed), tag[0]]),
            "InvalidID"
        );
    }
}

#[test]
fn a_tag_is_deleted_by_its_value_only_where_it_has_it() {
    let mut aws = Aws::new();
    let left = |aws: &mut Aws| {
        let filter = [("Filter.1.Name", "resource-id"), ("Filter.1.Value.1", IMAGE)];
        aws.call("DescribeTags", &filter).all("key").len()
    };
    let delete = |aws: &mut Aws, rest: &[(&str, &str)]| {
        aws.call("DeleteTags", &[&[("ResourceId.1", IMAGE)], rest].concat());
    };
    assert_eq!(left(&mut aws), 2);
    delete(&mut aws, &[("Tag.1.Key", "team"), ("Tag.1.Value", "other")]);
    assert_eq!(left(&mut aws), 2);
    delete(&mut aws, &[("Tag.1.Key", "team"), ("Tag.1.Value", "platform")]);
    assert_eq!(left(&mut aws), 1);
    delete(&mut aws, &[]);
    assert_eq!(left(&mut aws), 0);
}
