// SPDX-License-Identifier: GPL-2.0-only
/*
 * Objects that outlive one table.
 *
 * An unnamed object belongs to a mapped device and a place in its table (the
 * target's begin, and the node's label or, without one, its path): a reloaded
 * table finds it again there. A named one belongs to the module and is found
 * by its name from any device; once it was in a live table it is kept until it
 * is forgotten or the module goes. Tables hold references; an object that is not
 * kept goes with the last of them.
 */
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/slab.h>

#include "vdisk.h"

/**
 * struct vdisk_object - see above
 * @list: in vdisk_objects
 * @type: the type of the nodes that share it
 * @md: the mapped device, or NULL for a named object
 * @begin: the target's begin, for an unnamed object
 * @key: name, label or path
 * @serial: no other object ever has it
 * @refs: references of tables, and one while it is kept
 * @kept: stays without tables
 * @live: was in a live table, so it may hold data
 * @durable: what it holds is elsewhere as well
 * @free: frees what @data owns
 * @data: the type's own
 */
struct vdisk_object {
	struct list_head list;
	const struct vdisk_type *type;
	const struct mapped_device *md;
	sector_t begin;
	char *key;
	u64 serial;
	unsigned int refs;
	bool kept;
	bool live;
	bool durable;
	void (*free)(void *data);
	char data[] __aligned(8);
};

/*
 * Guards the list and everything in the objects but their data. Nothing is
 * allocated or freed under it: ->resume takes it, and reclaim may wait for that.
 */
static DEFINE_MUTEX(vdisk_objects_lock);
static LIST_HEAD(vdisk_objects);
static u64 vdisk_objects_made;

static void vdisk_object_free(struct vdisk_object *obj)
{
	obj->free(obj->data);
	kfree(obj->key);
	kfree(obj);
}

static struct vdisk_object *vdisk_object_alloc(struct vdisk_node *n,
					       const char *name, bool durable,
					       size_t size)
{
	const struct dm_target *ti = n->stack->ti;
	char path[VDISK_PATH_MAX] = "";
	struct vdisk_out out = { path, 0, sizeof(path) };
	struct vdisk_object *obj;

	obj = kzalloc(struct_size(obj, data, size), GFP_KERNEL);
	if (!obj)
		return NULL;
	vdisk_emit(&out, "/");	/* no label begins like this */
	vdisk_print_path(n, &out);
	obj->key = kstrdup(name ?: n->label ?: path, GFP_KERNEL);
	if (!obj->key) {
		kfree(obj);
		return NULL;
	}
	obj->type = n->type;
	obj->durable = durable;
	obj->refs = 1;
	if (!name) {
		obj->md = dm_table_get_md(ti->table);
		obj->begin = ti->begin;
	}
	return obj;
}

/* The object in the list that stands for the same as @like. */
static struct vdisk_object *__vdisk_object_find(const struct vdisk_object *like)
{
	struct vdisk_object *obj;

	lockdep_assert_held(&vdisk_objects_lock);
	list_for_each_entry(obj, &vdisk_objects, list)
		if (obj->type == like->type && obj->md == like->md &&
		    obj->durable == like->durable &&
		    obj->begin == like->begin && !strcmp(obj->key, like->key))
			return obj;
	return NULL;
}

static struct vdisk_object *__vdisk_object_get(struct vdisk_node *n,
					       const char *name, bool durable,
					       size_t size,
					       void (*init)(void *data),
					       void (*free)(void *data))
{
	struct vdisk_object *obj, *new;

	new = vdisk_object_alloc(n, name, durable, size);
	if (!new)
		return ERR_PTR(-ENOMEM);
	new->free = free;
	init(new->data);

	mutex_lock(&vdisk_objects_lock);
	obj = __vdisk_object_find(new);
	if (obj) {
		obj->refs++;
	} else {
		obj = new;
		new = NULL;
		obj->serial = ++vdisk_objects_made;
		list_add_tail(&obj->list, &vdisk_objects);
	}
	mutex_unlock(&vdisk_objects_lock);
	if (new)
		vdisk_object_free(new);
	return obj;
}

/**
 * vdisk_object_get - find a node's object, or make it
 * @n: the node; one object per node
 * @name: its name, or NULL for an object of the mapped device
 * @size: bytes of data, zeroed when it is made
 * @init: prepares new data; cannot fail
 * @free: frees what the data owns
 *
 * Context: Process context, may sleep.
 * Return: the object, to be given back by vdisk_object_put(), or ERR_PTR.
 */
struct vdisk_object *vdisk_object_get(struct vdisk_node *n, const char *name,
				      size_t size, void (*init)(void *data),
				      void (*free)(void *data))
{
	return __vdisk_object_get(n, name, false, size, init, free);
}

/**
 * vdisk_object_get_durable - the same for what is elsewhere as well
 * @n: the node
 * @size: bytes of data
 * @init: prepares new data
 * @free: frees what the data owns
 *
 * A table may drop it, for nothing is lost with it. One that is not durable is
 * another object, even in the same place.
 *
 * Context: Process context, may sleep.
 * Return: the object, or ERR_PTR.
 */
struct vdisk_object *vdisk_object_get_durable(struct vdisk_node *n, size_t size,
					      void (*init)(void *data),
					      void (*free)(void *data))
{
	return __vdisk_object_get(n, NULL, true, size, init, free);
}

/* True if that was the last one: the caller frees the object, unlocked. */
static bool __vdisk_object_put(struct vdisk_object *obj)
{
	lockdep_assert_held(&vdisk_objects_lock);
	if (--obj->refs)
		return false;
	list_del(&obj->list);
	return true;
}

/**
 * vdisk_object_put - give back a reference
 * @obj: the object; may be freed
 *
 * Context: Process context, may sleep.
 */
void vdisk_object_put(struct vdisk_object *obj)
{
	bool last;

	mutex_lock(&vdisk_objects_lock);
	last = __vdisk_object_put(obj);
	mutex_unlock(&vdisk_objects_lock);
	if (last)
		vdisk_object_free(obj);
}

/**
 * vdisk_object_data - what the object is about
 * @obj: the object
 *
 * Return: its data, valid as long as the reference is held.
 */
void *vdisk_object_data(struct vdisk_object *obj)
{
	return obj->data;
}

/**
 * vdisk_object_serial - which object it is, even after it is gone
 * @obj: the object
 *
 * Return: a number that no other object ever has.
 */
u64 vdisk_object_serial(const struct vdisk_object *obj)
{
	return obj->serial;
}

/**
 * vdisk_object_forget - let a named object go with its last table after all
 * @obj: the object; the caller holds a reference
 *
 * Context: Process context, may sleep.
 */
void vdisk_object_forget(struct vdisk_object *obj)
{
	mutex_lock(&vdisk_objects_lock);
	if (obj->kept) {
		obj->kept = false;
		obj->refs--;
	}
	mutex_unlock(&vdisk_objects_lock);
}

/* Does a node of the stack hold the object? */
static bool vdisk_object_in(const struct vdisk_object *obj,
			    const struct vdisk_stack *s)
{
	unsigned int i;

	for (i = 0; i < s->nr_nodes; i++)
		if (s->nodes[i]->object == obj)
			return true;
	return false;
}

/**
 * vdisk_object_check_drop - refuse a table that would lose live data
 * @s: a stack just built: its target's place in the table is looked at
 *
 * Context: Process context, may sleep.
 * Return: 0, or -EBUSY after vdisk_fail().
 */
int vdisk_object_check_drop(struct vdisk_stack *s)
{
	const struct mapped_device *md = dm_table_get_md(s->ti->table);
	struct vdisk_object *obj;
	int r = 0;

	if (s->drop_volatile)
		return 0;
	mutex_lock(&vdisk_objects_lock);
	list_for_each_entry(obj, &vdisk_objects, list) {
		if (obj->md != md || !obj->live || obj->durable ||
		    obj->begin < s->ti->begin ||
		    obj->begin - s->ti->begin >= s->ti->len ||
		    vdisk_object_in(obj, s))
			continue;
		r = vdisk_fail(s->nodes[0], -EBUSY,
			       "drops the contents of the live table's %s '%s'; say drop_volatile if that is meant",
			       obj->type->name, obj->key);
		break;
	}
	mutex_unlock(&vdisk_objects_lock);
	return r;
}

/**
 * vdisk_object_live - a stack went live: its objects may hold data from now on
 * @s: the stack
 *
 * Context: Process context, may sleep.
 */
void vdisk_object_live(struct vdisk_stack *s)
{
	unsigned int i;

	mutex_lock(&vdisk_objects_lock);
	for (i = 0; i < s->nr_nodes; i++) {
		struct vdisk_object *obj = s->nodes[i]->object;

		if (!obj || obj->live)
			continue;
		obj->live = true;
		if (obj->md)
			continue;
		obj->kept = true;
		obj->refs++;
	}
	mutex_unlock(&vdisk_objects_lock);
}

/**
 * vdisk_object_exit - free what is kept
 *
 * Context: Module exit: no table is left.
 */
void vdisk_object_exit(void)
{
	struct vdisk_object *obj, *next;

	list_for_each_entry_safe(obj, next, &vdisk_objects, list) {
		list_del(&obj->list);
		WARN_ON_ONCE(!obj->kept || obj->refs != 1);
		vdisk_object_free(obj);
	}
}
