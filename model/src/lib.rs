//! What a model is: layers, operations, shapes, parameters, optimizer, loss, schedule. Pure data and arithmetic.
