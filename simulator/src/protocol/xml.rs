//! Writing responses: a serde serializer that produces EC2's XML.
//!
//! A structure's fields become elements, a list becomes an element of `<item>`s, an absent value becomes nothing.

use std::fmt::Display;

use serde::ser::{self, Impossible, Serialize, SerializeSeq, SerializeStruct};

use super::Error;

const EC2: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";
const STS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// A successful EC2 response.
pub fn ec2<T: Serialize>(operation: &str, request_id: &str, response: &T) -> Result<String, Error> {
    let mut out = format!("{DECLARATION}<{operation}Response xmlns=\"{EC2}\"><requestId>{request_id}</requestId>");
    response.serialize(Element {
        out: &mut out,
        name: "",
    })?;
    out.push_str(&format!("</{operation}Response>"));
    Ok(out)
}

/// A successful STS response.
pub fn sts<T: Serialize>(operation: &str, request_id: &str, response: &T) -> Result<String, Error> {
    let mut out = format!("{DECLARATION}<{operation}Response xmlns=\"{STS}\"><{operation}Result>");
    response.serialize(Element {
        out: &mut out,
        name: "",
    })?;
    out.push_str(&format!(
        "</{operation}Result><ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation}Response>"
    ));
    Ok(out)
}

/// An error as EC2 writes it.
pub fn ec2_error(error: &Error, request_id: &str) -> String {
    let (code, message) = (escape(&error.code), escape(&error.message));
    format!(
        "{DECLARATION}<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
         <RequestID>{request_id}</RequestID></Response>"
    )
}

/// An error as STS writes it.
pub fn sts_error(error: &Error, request_id: &str) -> String {
    let (code, message) = (escape(&error.code), escape(&error.message));
    let fault = if error.status < 500 { "Sender" } else { "Receiver" };
    format!(
        "{DECLARATION}<ErrorResponse xmlns=\"{STS}\"><Error><Type>{fault}</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )
}

/// Escapes markup, and replaces the control characters that XML 1.0 can't carry.
fn escape(text: &str) -> String {
    let legal: String = text
        .chars()
        .map(|c| {
            if c.is_control() && !matches!(c, '\t' | '\n' | '\r') {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect();
    quick_xml::escape::escape(legal.as_str()).into_owned()
}

impl ser::Error for Error {
    fn custom<T: Display>(message: T) -> Self {
        Error::new("InternalError", message.to_string())
    }
}

/// One element; with an empty name, only its content.
struct Element<'a> {
    out: &'a mut String,
    name: &'a str,
}

impl<'a> Element<'a> {
    fn text(self, text: &str) -> Result<(), Error> {
        self.out.push_str(&format!("<{0}>{1}</{0}>", self.name, escape(text)));
        Ok(())
    }

    fn open(self) -> Open<'a> {
        if !self.name.is_empty() {
            self.out.push_str(&format!("<{}>", self.name));
        }
        Open {
            out: self.out,
            name: self.name,
        }
    }
}

macro_rules! as_text {
    ($($method:ident $type:ty;)*) => {$(
        fn $method(self, value: $type) -> Result<(), Error> {
            self.text(&value.to_string())
        }
    )*};
}

fn unsupported<T>(what: &str) -> Result<T, Error> {
    Err(ser::Error::custom(format!("a response can't carry {what}")))
}

impl<'a> ser::Serializer for Element<'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Open<'a>;
    type SerializeStruct = Open<'a>;
    type SerializeMap = Impossible<(), Error>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeStructVariant = Impossible<(), Error>;

    as_text! {
        serialize_bool bool;
        serialize_i8 i8; serialize_i16 i16; serialize_i32 i32; serialize_i64 i64;
        serialize_u8 u8; serialize_u16 u16; serialize_u32 u32; serialize_u64 u64;
        serialize_f32 f32; serialize_f64 f64;
        serialize_char char;
        serialize_str &str;
    }

    fn serialize_none(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.text(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Open<'a>, Error> {
        Ok(self.open())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Open<'a>, Error> {
        Ok(self.open())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Error> {
        unsupported("a map")
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Error> {
        unsupported("bytes")
    }

    fn serialize_unit(self) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        Ok(())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Error> {
        unsupported("a variant with content")
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Error> {
        unsupported("a tuple")
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Error> {
        unsupported("a tuple")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        unsupported("a variant with content")
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        unsupported("a variant with content")
    }
}

/// An element that has been opened and waits for its content.
struct Open<'a> {
    out: &'a mut String,
    name: &'a str,
}

impl Open<'_> {
    fn close(self) -> Result<(), Error> {
        if !self.name.is_empty() {
            self.out.push_str(&format!("</{}>", self.name));
        }
        Ok(())
    }
}

impl SerializeSeq for Open<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(Element {
            out: self.out,
            name: "item",
        })
    }

    fn end(self) -> Result<(), Error> {
        self.close()
    }
}

impl SerializeStruct for Open<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(Element { out: self.out, name })
    }

    fn end(self) -> Result<(), Error> {
        self.close()
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Response {
        instances_set: Vec<Instance>,
        next_token: Option<String>,
        tag_set: Vec<String>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Instance {
        instance_id: String,
        ebs_optimized: bool,
    }

    #[test]
    fn lists_are_items_and_absent_values_are_absent() {
        let response = Response {
            instances_set: vec![Instance {
                instance_id: "i-<1>".into(),
                ebs_optimized: false,
            }],
            next_token: None,
            tag_set: vec![],
        };
        let xml = ec2("DescribeInstances", "r-1", &response).unwrap();
        assert!(xml.ends_with(
            "<requestId>r-1</requestId><instancesSet><item><instanceId>i-&lt;1&gt;</instanceId>\
             <ebsOptimized>false</ebsOptimized></item></instancesSet><tagSet></tagSet></DescribeInstancesResponse>"
        ));
    }

    #[test]
    fn an_error_names_code_and_message() {
        let xml = ec2_error(&Error::new("InvalidAMIID.NotFound", "ami-1 & ami-2\u{1}"), "r-1");
        assert!(xml.contains("<Code>InvalidAMIID.NotFound</Code><Message>ami-1 &amp; ami-2\u{fffd}</Message>"));
    }
}
