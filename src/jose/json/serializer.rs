//! The data model of serde on top of the writer: what each kind of Rust value is in JSON, as `serde_json` has it.
//!
//! Names of members are text or integers; a map with other keys is refused, since no statement has one.

use std::fmt;

use serde::ser::{self, Serialize};

use super::write::{Open, Writer};

/// Why a value is no JSON.
#[derive(Debug)]
pub(super) struct Fault(pub(super) String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl ser::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

type Written = Result<(), Fault>;

/// A list that is open; `variant` if it is the one value of an object.
pub(super) struct List<'a> {
    writer: &'a mut Writer,
    open: Open,
    variant: Option<Open>,
}

/// An object that is open; `variant` if it is the one value of another.
pub(super) struct Object<'a> {
    writer: &'a mut Writer,
    open: Open,
    variant: Option<Open>,
}

impl Writer {
    /// An object of one member, whose value follows.
    fn variant(&mut self, name: &str) -> Result<Open, Fault> {
        let open = self.open(b'{');
        self.name(open, |writer| {
            writer.string(name);
            Ok(())
        })?;
        Ok(open)
    }

    fn close_variant(&mut self, variant: Option<Open>) {
        if let Some(open) = variant {
            self.value(open);
            self.close_object(open);
        }
    }

    fn list(&mut self, variant: Option<Open>) -> List<'_> {
        let open = self.open(b'[');
        List { writer: self, open, variant }
    }

    fn object(&mut self, variant: Option<Open>) -> Object<'_> {
        let open = self.open(b'{');
        Object { writer: self, open, variant }
    }

    /// A value that writes itself as text.
    fn display<T: fmt::Display + ?Sized>(&mut self, value: &T) -> Written {
        struct Fragments<'a>(&'a mut Writer);
        impl fmt::Write for Fragments<'_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0.fragment(text);
                Ok(())
            }
        }
        self.raw("\"");
        fmt::Write::write_fmt(&mut Fragments(self), format_args!("{value}"))
            .map_err(|_| Fault("a value could not write itself".into()))?;
        self.raw("\"");
        Ok(())
    }
}

/// The integers of one kind, each of which fits 64 bits.
macro_rules! integers {
    (signed: $($signed:ident $i:ty),*; unsigned: $($unsigned:ident $u:ty),*) => {
        $(fn $signed(self, value: $i) -> Written {
            self.integer(value < 0, u64::from(value.unsigned_abs()));
            Ok(())
        })*
        $(fn $unsigned(self, value: $u) -> Written {
            self.integer(false, u64::from(value));
            Ok(())
        })*
    };
}

impl<'a> ser::Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = List<'a>;
    type SerializeTuple = List<'a>;
    type SerializeTupleStruct = List<'a>;
    type SerializeTupleVariant = List<'a>;
    type SerializeMap = Object<'a>;
    type SerializeStruct = Object<'a>;
    type SerializeStructVariant = Object<'a>;

    integers!(
        signed: serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64;
        unsigned: serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64
    );

    fn serialize_bool(self, value: bool) -> Written {
        self.raw(if value { "true" } else { "false" });
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Written {
        self.number(f64::from(value))
    }

    fn serialize_f64(self, value: f64) -> Written {
        self.number(value)
    }

    fn serialize_char(self, value: char) -> Written {
        self.string(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Written {
        self.string(value);
        Ok(())
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Written {
        self.display(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Written {
        value.serialize(self)
    }

    fn serialize_none(self) -> Written {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Written {
        self.raw("null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Written {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Written {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Written {
        let open = self.variant(variant)?;
        value.serialize(&mut *self)?;
        self.close_variant(Some(open));
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List<'a>, Fault> {
        Ok(self.list(None))
    }

    fn serialize_tuple(self, _: usize) -> Result<List<'a>, Fault> {
        Ok(self.list(None))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List<'a>, Fault> {
        Ok(self.list(None))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<List<'a>, Fault> {
        let open = self.variant(variant)?;
        Ok(self.list(Some(open)))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Object<'a>, Fault> {
        Ok(self.object(None))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Object<'a>, Fault> {
        Ok(self.object(None))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Object<'a>, Fault> {
        let open = self.variant(variant)?;
        Ok(self.object(Some(open)))
    }
}

impl List<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.writer.item(self.open);
        value.serialize(&mut *self.writer)
    }

    fn close(self) {
        self.writer.close_list();
        self.writer.close_variant(self.variant);
    }
}

impl Object<'_> {
    fn name<T: Serialize + ?Sized>(&mut self, name: &T) -> Written {
        self.writer.name(self.open, |writer| name.serialize(writer))
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        value.serialize(&mut *self.writer)?;
        self.writer.value(self.open);
        Ok(())
    }

    fn close(self) {
        self.writer.close_object(self.open);
        self.writer.close_variant(self.variant);
    }
}

/// One trait for each kind of list, all alike.
macro_rules! lists {
    ($($trait:ident $item:ident),*) => {
        $(impl ser::$trait for List<'_> {
            type Ok = ();
            type Error = Fault;

            fn $item<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
                self.item(value)
            }

            fn end(self) -> Written {
                self.close();
                Ok(())
            }
        })*
    };
}

lists!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

impl ser::SerializeMap for Object<'_> {
    type Ok = ();
    type Error = Fault;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Written {
        self.name(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.value(value)
    }

    fn end(self) -> Written {
        self.close();
        Ok(())
    }
}

/// Structs, and the variants that are like them.
macro_rules! structs {
    ($($trait:ident),*) => {
        $(impl ser::$trait for Object<'_> {
            type Ok = ();
            type Error = Fault;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Written {
                self.name(name)?;
                self.value(value)
            }

            fn end(self) -> Written {
                self.close();
                Ok(())
            }
        })*
    };
}

structs!(SerializeStruct, SerializeStructVariant);
