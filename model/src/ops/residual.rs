//! A block with a way around it.

use super::{Op, Operation, flops_of};
use crate::parameter::within;
use crate::{Buffer, Parameter, Shape, ShapeError, limits};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// `body(x) + x`, or `body(x) + shortcut(x)` (arXiv 1512.03385). Parameters are named `body.0.weight`,
/// `shortcut.0.weight`, as those of a module with two `nn.Sequential`s.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Residual {
    /// The operations of the block.
    #[schemars(schema_with = "nested", length(min = 1, max = 256))]
    pub body: Vec<Op>,
    /// The operations on the way around it; none if not set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "nested", length(max = 256))]
    pub shortcut: Vec<Op>,
}

/// Kubernetes takes no recursive schema: operations within operations are checked by MixNN alone.
fn nested(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    })
}

impl Operation for Residual {
    fn output(&self, input: &Shape) -> Result<Shape, ShapeError> {
        if self.body.is_empty() || self.body.len().max(self.shortcut.len()) > limits::OPS {
            return Err(ShapeError(format!(
                "body and shortcut have from 1 and 0 to {} ops",
                limits::OPS
            )));
        }
        let body = chain("body", &self.body, input)?;
        let shortcut = chain("shortcut", &self.shortcut, input)?;
        if body == shortcut {
            return Ok(body);
        }
        Err(ShapeError(if self.shortcut.is_empty() {
            format!("its body gives {body} for an input of {input}: add a shortcut that does, too")
        } else {
            format!("its body gives {body}, its shortcut {shortcut}: both must be the same")
        }))
    }

    fn parameters(&self) -> Vec<Parameter> {
        let of = |(place, op): (String, &Op)| within(&place, op.parameters()).collect::<Vec<_>>();
        self.places().flat_map(of).collect()
    }

    fn buffers(&self) -> Vec<Buffer> {
        let of = |(place, op): (String, &Op)| -> Vec<Buffer> {
            let named = |b: Buffer| Buffer { name: format!("{place}.{}", b.name), ..b };
            op.buffers().into_iter().map(named).collect()
        };
        self.places().flat_map(of).collect()
    }

    fn flops(&self, input: &Shape) -> u64 {
        let sum = self.output(input).map_or(0, |output| output.elements() as u64);
        sum.saturating_add(flops_of(&self.body, input))
            .saturating_add(flops_of(&self.shortcut, input))
    }

    fn is_stochastic(&self) -> bool {
        self.places().any(|(_, op)| op.is_stochastic())
    }

    fn depth(&self) -> usize {
        1 + self.places().map(|(_, op)| op.depth()).max().unwrap_or(0)
    }
}

impl Residual {
    /// All operations with their PyTorch names within the block, in order.
    fn places(&self) -> impl Iterator<Item = (String, &Op)> {
        let body = self.body.iter().enumerate().map(|(i, op)| (format!("body.{i}"), op));
        let shortcut = self.shortcut.iter().enumerate();
        body.chain(shortcut.map(|(i, op)| (format!("shortcut.{i}"), op)))
    }
}

fn chain(what: &str, ops: &[Op], input: &Shape) -> Result<Shape, ShapeError> {
    ops.iter().enumerate().try_fold(input.clone(), |shape, (i, op)| {
        op.output(&shape).map_err(|e| ShapeError(format!("{what} op {i} ({}): {e}", op.name())))
    })
}
